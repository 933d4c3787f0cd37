"""Trained weights on disk: one safetensors file per block, with everything needed to rebuild its networks.

Tensors are called `{seed}/{snapshot}/{parameter}`, e.g. `3/final/1.weight`; snapshots are `initial`, `epoch-10` (where
the recipe asks for them) and `final`. The metadata hold the recipe, the shape of the images and the classes.

    network = load_network("results/digits/train/width=8,depth=1,batch_size=32/0.safetensors", seed=3)
    logits = network(images[None])[0]
"""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import nn

from isthmus.data import Dataset
from isthmus.errors import DataError
from isthmus.networks import build
from isthmus.recipe import Recipe
from isthmus.state import State
from isthmus.tensor_files import Tensors, save_tensors


def write_weights(path: Path | str, recipe: Recipe, dataset: Dataset, states: list[State]) -> None:
    """Write all snapshots of all networks of the finished `states`."""
    tensors = {
        f"{seed}/{label}/{name}": tensor
        for state in states
        for seed, snapshots in state.snapshots.items()
        for label, content in snapshots.items()
        for name, tensor in content.items()
    }
    metadata = {
        "recipe": json.dumps(recipe.as_dict()),
        "shape": json.dumps(list(dataset.train_images.shape[1:])),
        "classes": str(dataset.classes),
    }
    save_tensors(Path(path), tensors, metadata)


def load_weights(path: Path | str, seed: int, snapshot: str = "final") -> Tensors:
    """The parameters of one network at one snapshot, by name, on the CPU; only these are read.

    Raises DataError where the file cannot be read, KeyError where it lacks the network or the snapshot.
    """
    prefix = f"{seed}/{snapshot}/"
    try:
        with safe_open(path, framework="pt") as stored:
            found = [name for name in stored.keys() if name.startswith(prefix)]  # noqa: SIM118
            weights = {name.removeprefix(prefix): stored.get_tensor(name) for name in found}
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read ({error}); delete it and run the workflow again") from error
    if not weights:
        raise KeyError(f"{path} holds no snapshot {snapshot!r} of the network with seed {seed}")
    return weights


def load_network(path: Path | str, seed: int, snapshot: str = "final") -> nn.Module:
    """The network itself, a stack of one, with the weights of one snapshot. Errors as for `load_weights`."""
    weights = load_weights(path, seed, snapshot)
    with safe_open(path, framework="pt") as stored:
        metadata = stored.metadata()
    recipe = Recipe.from_dict(json.loads(metadata["recipe"]))
    channels, height, width = json.loads(metadata["shape"])
    network = build(recipe.network, (channels, height, width), int(metadata["classes"]))
    network.load_state_dict({name: tensor[None] for name, tensor in weights.items()})
    return network
