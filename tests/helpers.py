"""What several test files share."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from isthmus.config import load
from isthmus.recipe import Recipe

NOTHING: Mapping[str, Any] = MappingProxyType({})


def recipe(
    width: int = 8,
    depth: int = 2,
    batch_size: int = 16,
    data: Mapping[str, Any] = NOTHING,
    network: Mapping[str, Any] = NOTHING,
    training: Mapping[str, Any] = NOTHING,
) -> Recipe:
    """The recipe of one cell: the keys given, and the schema's defaults for all others."""
    study = {
        "data": dict(data),
        "network": dict(network),
        "training": dict(training),
        "grid": {"width": [width], "depth": [depth], "batch_size": [batch_size], "seed": 1},
    }
    (cell,) = load({"studies": {"test": study}}).studies["test"].cells.values()
    return cell.recipe


def described(root: Path | str = "data", download: bool = False, **others: Any) -> dict[str, Any]:
    """An entry of `datasets` with all its defaults."""
    defaults = {"source": "builtin", "image_column": "img", "label_column": "label"}
    return defaults | {"root": str(root), "download": download} | others
