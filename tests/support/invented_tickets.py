"""Invented tables of lottery tickets and their controls, for the tests of figures."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from drawn import filled
from invented_cells import NO_MORE, Extra, keys_of, with_cells

from isthmus.tables.descriptions import table
from isthmus.tables.parquet import arrow_schema

ALL_KINDS = ("ticket", "one_shot", "magnitude_at_initialization", "reinitialized", "random")
# Accuracy lost, and slowness, where half of the weights that matter are gone.
HARM = {"ticket": 1.0, "one_shot": 1.6, "magnitude_at_initialization": 2.2, "reinitialized": 3.0, "random": 4.0}
Rows = list[dict[str, Any]]


def _masks(width: int, kind: str, share: float) -> list[tuple[int, int]]:
    """Prunable and kept weights of three layers; the first is pruned most, and in the end wholly, at initialization."""
    sizes = (64 * width, width**2, 10 * width)
    power = {"magnitude_at_initialization": (1.5, 0.9, 0.3)}.get(kind, (1.05, 1.0, 0.5))
    left = [round(size * share**each) for size, each in zip(sizes, power, strict=True)]
    left[0] = 0 if kind == "magnitude_at_initialization" and share < 0.12 else left[0]
    return list(zip(sizes, left, strict=True))


def _measured(random: np.random.Generator, width: int, kind: str, density: float) -> dict[str, Any]:
    """Invented results of a network: what is pruned much is less accurate, slower and sharper."""
    lack = HARM.get(kind, 0.0) * (8 / width) ** 0.5 * max(1 / density - 1, 0) / 10
    accuracy = 0.975 - 0.04 * (8 / width) - 0.05 * lack**1.3 + random.normal(0, 0.003)
    accuracy = float(np.clip(accuracy, 0.1, 1))
    steps = float(900 * (1 - 0.25 * (kind == "ticket") * (density < 1) + 0.3 * lack) * np.exp(random.normal(0, 0.08)))
    loss = 0.02 * (1 + lack) * float(np.exp(random.normal(0, 0.1)))
    top = 12 * (1 + 0.8 * lack) * float(np.exp(random.normal(0, 0.15)))
    found = {"test_accuracy": accuracy, "test_loss": 1.1 - accuracy, "train_loss": loss, "train_accuracy": 0.999}
    found |= {"early_stopping_step": round(steps), "steps": 3000, "stopped": "epochs", "seconds": 1.0}
    found["steps_to_dense"] = round(steps) if steps < 1500 or kind == "dense" else None
    if kind in ("dense", "ticket"):
        error = max(0.0, float(random.normal(0.04 * (8 / width) ** 0.5 - 0.02 + 0.02 * lack, 0.004)))
        error = round(error * 2000) / 2000
        found |= {"stability_test_error": error, "stability_train_error": 0.8 * error}
        found |= {"stability_test_loss": 4 * error, "stability_train_loss": 5 * error}
    curvature = {"top_eigenvalue": top, "top_eigenvalue_residual": 0.01, "top_eigenvalue_converged": True}
    return found | curvature | {"trace": 9 * top, "trace_error": 0.1, "curvature_loss": loss, "curvature_images": 500}


def make_tables(
    study: str = "digits",
    widths: Sequence[int] = (8, 32, 128),
    depths: Sequence[int] = (2,),
    batch_sizes: Sequence[int] = (32,),
    seeds: int = 5,
    extra: Extra = NO_MORE,
    diverged: Sequence[tuple[int, int, str]] = (),
    levels: int = 12,
    kinds: Sequence[str] = ALL_KINDS,
    stability: bool = True,
    curvature: Sequence[str] = ALL_KINDS,
) -> dict[str, Rows]:
    """Invented but plausible rows of `tickets` and `ticket_layers`, a network pruned by a fifth at every level.

    `diverged` holds (width, seed, kind); a dense network that diverged takes all that are made of it along. `extra`
    are axes beside these, `curvature` names the kinds it is measured on.
    """
    random = np.random.default_rng(0)
    made: dict[str, Rows] = {"tickets": [], "ticket_layers": []}
    for more, width, depth, batch, seed in product(extra, widths, depths, batch_sizes, range(seeds)):
        keys = keys_of(study, width, depth, batch, more) | {"seed": seed}
        for kind, level in [("dense", 0), *product(kinds, range(1, levels + 1))]:
            masks, share = _masks(width, kind, 0.8**level), 0.8**level
            prunable, kept = (sum(column) for column in zip(*masks, strict=True))
            lost = (width, seed, kind) in diverged or (width, seed, "dense") in diverged
            place = keys | {"kind": kind, "level": level, "kept_fraction": share}
            row = place | {"prunable": prunable, "parameters": prunable + 2 * width, "diverged": lost}
            row |= {
                "statistics_examples": 0,
                "scope": "global",
                "rewind_step": 100 if kind in ("dense", "ticket", "one_shot") else 0,
            }
            if not lost:
                row |= {"kept": kept, "density": kept / prunable, "emptied_layers": sum(not left for _, left in masks)}
                row |= _measured(random, width, kind, kept / prunable)
            row = filled("tickets", row)
            for column in row:
                off = column.startswith("stability") and not stability
                uncurved = kind not in (*curvature, "dense") or not curvature
                off |= uncurved and column.startswith(("top_eigenvalue", "trace", "curvature"))
                row[column] = None if off else row[column]
            made["tickets"].append(row)
            for index, (size, left) in enumerate(masks, start=1):
                layer = {"layer": str(2 * index), "layer_index": index, "prunable": size}
                layer |= {} if lost else {"kept": left, "density": left / size}
                made["ticket_layers"].append(filled("ticket_layers", place | layer))
    return made


def frames(**given: Any) -> dict[str, pd.DataFrame]:
    """The invented tables as data frames, with the types of their schema."""
    made = make_tables(**given).items()
    typed = {name: pa.Table.from_pylist(rows, schema=arrow_schema(table(name))).to_pandas() for name, rows in made}
    return with_cells(typed, given.get("extra", NO_MORE))
