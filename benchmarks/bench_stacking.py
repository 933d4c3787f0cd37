"""Five networks trained together or one after another: where is the break-even? And is vmap as fast?

Milliseconds per step of five networks, one thread; `w*batch` is weights x examples of a step, by which
`isthmus.core.devices.stack_size` decides. Networks of a user's own, here those of presets/vision_models.py, are only
ever stacked by vmap.
"""

from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from timing import medians
from torch import Tensor

from isthmus.models.evaluation import losses
from isthmus.models.networks import build
from isthmus.models.sizes import parameters
from isthmus.recipes.recipe import AnyNetwork, ModuleRecipe, TrainingRecipe
from isthmus.study.config import load
from isthmus.training import optimizers

NETWORKS = 5
WAYS = ("stacked", "sequential", "vmap")
PRESETS = Path(__file__).parents[1] / "presets"


def recipes(name: str, width: int, depth: int, batch: int) -> tuple[AnyNetwork, TrainingRecipe]:
    """The recipes of a built-in architecture, or of a function in a file."""
    network = {"architecture": name, "normalization": "none" if name == "mlp" else "batch"}
    if ".py:" in name:
        network = {"module": str(PRESETS / name)}
    study = {
        "network": network,
        "data": {"name": "CIFAR10"},
        "grid": {"width": [width], "depth": [depth], "batch_size": [batch], "seed": 1},
    }
    (cell,) = load({"studies": {"bench": study}}).studies["bench"].cells.values()
    return cell.recipe.network, cell.recipe.training


class Side:
    """Steps of a stack of networks on random images."""

    def __init__(self, network: AnyNetwork, training: TrainingRecipe, shape: tuple[int, int, int], stack: int) -> None:
        self.training, self.stack = training, stack
        self.network = build(network, shape, 10, stack)
        self.network.initialize(range(stack))
        self.weights = dict(self.network.named_parameters())
        self.slots = optimizers.new_slots(training, self.weights)
        self.images = torch.randn(stack, training.batch_size, *shape)
        self.labels = torch.randint(10, (stack, training.batch_size))

    def forward(self) -> Tensor:
        return losses(self.network(self.images), self.labels, "cross_entropy").sum()

    def step(self) -> None:
        gradients = torch.autograd.grad(self.forward(), tuple(self.weights.values()))
        optimizers.step(self.training, 0.01, self.weights, gradients, self.slots)


class Vmapped(Side):
    """The same by `torch.func.vmap` over `functional_call` of a single network."""

    def __init__(self, network: AnyNetwork, training: TrainingRecipe, shape: tuple[int, int, int], stack: int) -> None:
        super().__init__(network, training, shape, stack)
        single = build(network, shape, 10)

        def one(weights: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
            weights = {name: value[None] for name, value in weights.items()}
            return F.cross_entropy(torch.func.functional_call(single, weights, (images[None],))[0], labels)

        self.single = torch.func.vmap(one)

    def forward(self) -> Tensor:
        return self.single(self.weights, self.images, self.labels).sum()


def compare(name: str, width: int, depth: int, batch: int, shape: tuple[int, int, int]) -> None:
    """Time one kind of network on each side and print a line."""
    network, training = recipes(name, width, depth, batch)
    steps = 100 if name == "mlp" and width * batch <= 128 * 256 else 4
    sides = {"sequential": [Side(network, training, shape, 1) for _ in range(NETWORKS)]}
    if isinstance(network, ModuleRecipe):
        sides["vmap"] = [Side(network, training, shape, NETWORKS)]
    else:
        sides["stacked"] = [Side(network, training, shape, NETWORKS)]
        sides["vmap"] = [Vmapped(network, training, shape, NETWORKS)]

    def train(way: str) -> None:
        for side in sides[way]:
            for _ in range(steps):
                side.step()

    taken = medians({way: partial(train, way) for way in sides}, repetitions=3)
    printed = [f"{name.partition(':')[2] or name:19}{width:6}{depth:6}{batch:6}"]
    printed.append(f"{parameters(network, shape, 10) * batch:11.2g}")
    printed += [f"{taken[way] / steps * 1e3:11.2f}" if way in taken else f"{'':11}" for way in WAYS]
    printed += [f"{taken['sequential'] / taken[way]:11.2f}" for way in ("vmap", "stacked") if way in taken]
    print("".join(printed), flush=True)


def main() -> None:
    torch.set_num_threads(1)
    ways = "".join(f"{way:>11}" for way in (*WAYS, "seq./vmap", "seq./stack."))
    print(f"{'':19} width depth batch    w*batch{ways}")
    for width in (8, 32, 128):
        for batch in (32, 256):
            compare("mlp", width, 3, batch, (1, 8, 8))
    for width in (32, 64, 128, 256, 512):
        compare("mlp", width, 3, 128, (1, 28, 28))
    for width in (4, 8, 16):
        compare("cnn", width, 2, 128, (3, 32, 32))
    compare("resnet", 8, 8, 128, (3, 32, 32))
    for batch in (50, 128):
        for width in (4, 8):
            compare("vision_models.py:resnet", width, 1, batch, (3, 32, 32))
        for width in (16, 32):
            compare("vision_models.py:vision_transformer", width, 2, batch, (3, 32, 32))


if __name__ == "__main__":
    main()
