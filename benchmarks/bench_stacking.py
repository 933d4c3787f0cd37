"""Five networks trained together or one after another: where is the break-even? And is vmap as fast?

Milliseconds per step of five networks, one thread; `w*batch` is weights x examples of a step, by which
`isthmus.core.devices.stack_size` decides.
"""

import torch
import torch.nn.functional as F
from timing import medians
from torch import Tensor

from isthmus.models.evaluation import losses
from isthmus.models.networks import build, count_parameters
from isthmus.recipes.recipe import NetworkRecipe, TrainingRecipe
from isthmus.study.config import load
from isthmus.training import optimizers

NETWORKS = 5


def recipes(architecture: str, width: int, depth: int, batch: int) -> tuple[NetworkRecipe, TrainingRecipe]:
    study = {
        "network": {"architecture": architecture, "normalization": "none" if architecture == "mlp" else "batch"},
        "data": {"name": "CIFAR10"},
        "grid": {"width": [width], "depth": [depth], "batch_size": [batch], "seed": 1},
    }
    (cell,) = load({"studies": {"bench": study}}).studies["bench"].cells.values()
    return cell.recipe.network, cell.recipe.training


class Side:
    """Steps of a stack of networks on random images."""

    def __init__(
        self, network: NetworkRecipe, training: TrainingRecipe, shape: tuple[int, int, int], stack: int
    ) -> None:
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

    def __init__(
        self, network: NetworkRecipe, training: TrainingRecipe, shape: tuple[int, int, int], stack: int
    ) -> None:
        super().__init__(network, training, shape, stack)
        single = build(network, shape, 10)

        def one(weights: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
            weights = {name: value[None] for name, value in weights.items()}
            return F.cross_entropy(torch.func.functional_call(single, weights, (images[None],))[0], labels)

        self.single = torch.func.vmap(one)

    def forward(self) -> Tensor:
        return self.single(self.weights, self.images, self.labels).sum()


def compare(architecture: str, width: int, depth: int, batch: int, shape: tuple[int, int, int]) -> None:
    """Time one kind of network on each side and print a line."""
    network, training = recipes(architecture, width, depth, batch)
    steps = 100 if architecture == "mlp" and width * batch <= 128 * 256 else 4
    together, vmapped = Side(network, training, shape, NETWORKS), Vmapped(network, training, shape, NETWORKS)
    alone = [Side(network, training, shape, 1) for _ in range(NETWORKS)]
    taken = medians(
        {
            "stacked": lambda: [together.step() for _ in range(steps)],
            "sequential": lambda: [side.step() for side in alone for _ in range(steps)],
            "vmap": lambda: [vmapped.step() for _ in range(steps)],
        },
        repetitions=3,
    )
    work = count_parameters(network, shape, 10) * batch
    each = "".join(f"{seconds / steps * 1e3:11.2f}" for seconds in taken.values())
    ratios = f"{taken['sequential'] / taken['stacked']:11.2f}{taken['vmap'] / taken['stacked']:11.2f}"
    print(f"{architecture:7}{width:6}{depth:6}{batch:6}{work:11.2g}{each}{ratios}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    print("           width depth batch   w*batch    stacked sequential       vmap seq./stack. vmap/stack.")
    for width in (8, 32, 128):
        for batch in (32, 256):
            compare("mlp", width, 3, batch, (1, 8, 8))
    for width in (32, 64, 128, 256, 512):
        compare("mlp", width, 3, 128, (1, 28, 28))
    for width in (4, 8, 16):
        compare("cnn", width, 2, 128, (3, 32, 32))
    compare("resnet", 8, 8, 128, (3, 32, 32))


if __name__ == "__main__":
    main()
