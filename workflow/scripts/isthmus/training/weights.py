"""Trained weights on disk: one safetensors file per block, with everything needed to rebuild its networks.

Tensors are named `{seed}/{snapshot}/{parameter}`, e.g. `3/final/1.weight`. Snapshots are `initial`, `epoch-10` (if the
recipe asks for it) and `final`. If `final` is an average of weights, `last` holds the weights at the end of training.
The metadata hold the recipe, the shape of the inputs and the number of classes or outputs.

    network = load_network("results/digits/train/width=8+depth=1+batch_size=32/0.safetensors", seed=3)
    logits = network(images[None])[0]
"""

import json
from pathlib import Path

from torch import nn

from isthmus.core.errors import DataError
from isthmus.core.tensors import Tensors, flatten, load_tensors, save_tensors, unflatten
from isthmus.data.dataset import Dataset
from isthmus.models.networks import build
from isthmus.recipes.recipe import Recipe
from isthmus.training.checkpoint import State


def write_weights(path: Path | str, recipe: Recipe, dataset: Dataset, states: list[State], seeds: list[int]) -> None:
    """Write all snapshots of the networks `seeds` of the finished `states`."""
    snapshots = {seed: each for state in states for seed, each in state.snapshots.items() if seed in seeds}
    metadata = {
        "recipe": json.dumps(recipe.as_dict()),
        "shape": json.dumps(list(dataset.train_images.shape[1:])),
        "classes": str(dataset.classes),
    }
    save_tensors(path, flatten(snapshots), metadata)


def load_weights(path: Path | str, seed: int, snapshot: str = "final") -> Tensors:
    """The parameters of one network at one snapshot, by name, on the CPU.

    Raises DataError if the file is missing or damaged, or lacks the network or the snapshot.
    """
    return _select(path, load_tensors(path)[0], seed, snapshot)


def load_snapshots(path: Path | str) -> dict[int, dict[str, Tensors]]:
    """All snapshots of all networks in a file, by seed and snapshot. DataError if it is missing or damaged."""
    return {int(seed): snapshots for seed, snapshots in unflatten(load_tensors(path)[0]).items()}


def load_network(path: Path | str, seed: int, snapshot: str = "final") -> nn.Module:
    """The network itself, a stack of one, with the weights of one snapshot. Errors as for `load_weights`."""
    tensors, metadata = load_tensors(path)
    weights = _select(path, tensors, seed, snapshot)
    recipe = Recipe.from_dict(json.loads(metadata["recipe"]))
    network = build(recipe.network, tuple(json.loads(metadata["shape"])), int(metadata["classes"]))
    network.load_state_dict({name: tensor[None] for name, tensor in weights.items()})
    return network


def _select(path: Path | str, tensors: Tensors, seed: int, snapshot: str) -> Tensors:
    nested = unflatten(tensors)
    weights: Tensors = nested.get(str(seed), {}).get(snapshot, {})
    if not weights:
        there = sorted(f"{each}/{label}" for each, snapshots in nested.items() for label in snapshots)
        raise DataError(f"{path} holds no snapshot {seed}/{snapshot}; it holds {', '.join(there)}")
    return weights
