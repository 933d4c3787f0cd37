"""The table `cells` of invented tables."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd

from isthmus.recipes.cells import AXES, cell_name

Extra = Sequence[Mapping[str, Any]]
NO_MORE: Extra = (MappingProxyType({}),)
"""The axes beside width, depth and batch size, where there are none."""
KEYS = ["study", "cell", *AXES]


def keys_of(study: str, width: int, depth: int, batch_size: int, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a table that name a cell; `extra` are its axes beside width, depth and batch size."""
    axes = {"width": width, "depth": depth, "batch_size": batch_size}
    return {"study": study, "cell": cell_name(axes | dict(extra))} | axes


def with_cells(tables: Mapping[str, pd.DataFrame], extra: Extra = NO_MORE) -> dict[str, pd.DataFrame]:
    """Invented tables and the table `cells` of what is in them; each of `extra` are axes that some cells have."""
    found = {}
    for table in tables.values():
        for own in table[KEYS].drop_duplicates().to_dict("records") if set(KEYS) <= set(table) else []:
            for more in extra:
                keys = keys_of(*(own[key] for key in ("study", *AXES)), more)
                if keys["cell"] == own["cell"]:
                    found[own["study"], own["cell"]] = keys | dict(more)
    return dict(tables) | {"cells": pd.DataFrame(list(found.values()))}
