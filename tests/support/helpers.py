"""What several test files share."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from isthmus.core.devices import Settings
from isthmus.data.dataset import Dataset
from isthmus.recipes.recipe import Recipe
from isthmus.study.config import load
from isthmus.training.checkpoint import State
from isthmus.training.trainer import new_state, train

NOTHING: Mapping[str, Any] = MappingProxyType({})


def recipe(
    width: int = 8,
    depth: int = 2,
    batch_size: int = 16,
    data: Mapping[str, Any] = NOTHING,
    network: Mapping[str, Any] = NOTHING,
    training: Mapping[str, Any] = NOTHING,
) -> Recipe:
    """The recipe of one cell: the keys given, and the schema's defaults for all others.

    Of `network`, what only a `cnn` has is left out for other architectures, so that a test can try them all.
    """
    kept = [key for key in network if network.get("architecture") == "cnn" or key not in ("blocks", "hidden_units")]
    study = {
        "data": dict(data),
        "network": {key: network[key] for key in kept},
        "training": dict(training),
        "grid": {"width": [width], "depth": [depth], "batch_size": [batch_size], "seed": 1},
    }
    (cell,) = load({"studies": {"test": study}}).studies["test"].cells.values()
    return cell.recipe


def described(root: Path | str = "data", download: bool = False, **others: Any) -> dict[str, Any]:
    """An entry of `datasets` with all its defaults."""
    defaults = {"source": "builtin", "image_column": "img", "label_column": "label"}
    return defaults | {"root": str(root), "download": download} | others


def descend(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, steps: int) -> None:
    """Some steps of plain gradient descent of a stack of one on the cross-entropy of all images, in place."""
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(network(images[None])[0], labels)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter -= 0.3 * gradient


CPU = Settings(torch.device("cpu"))


def trained(recipe: Recipe, dataset: Dataset, network_seeds: tuple[int, ...], settings: Settings = CPU) -> State:
    state = new_state(recipe, dataset, network_seeds)
    return train(recipe, state, dataset, settings, lambda state: None, lambda: None)


def interrupted_at(chosen: Recipe, dataset: Dataset, state: State, steps: int, save: Callable[[State], None]) -> State:
    """Train until finished or until `steps` more steps are made, by the way of a stop request."""
    counted = 0

    def stop() -> int | None:
        nonlocal counted
        counted += 1
        return 15 if counted >= steps else None

    return train(chosen, state, dataset, CPU, save, stop)
