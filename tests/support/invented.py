"""Invented tables of a study, for what is made of whole studies: plausible, and with known relations."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from invented_cells import NO_MORE, Extra, keys_of, with_cells

Tables = dict[str, pd.DataFrame]
NOISES = ((0.005, 1.0), (0.02, 20.0))  # size, and factor of the rise of the loss


def invented_tables(
    study: str = "digits",
    widths: Sequence[int] = (8, 16, 32, 64),
    depths: Sequence[int] = (1, 2),
    batch_sizes: Sequence[int] = (32,),
    seeds: int = 4,
    extra: Extra = NO_MORE,
    diverged: Sequence[tuple[int, int, int]] = (),
    scatter: float = 0.05,
) -> Tables:
    """The tables `networks`, `curvature`, `perturbations`, `connections` and `cells`, with what quantities are made of.

    The test error falls as width^-0.3, the top eigenvalue as width^-0.5 and rises as depth^0.3, movement falls as
    width^-0.4; networks of width 8 do not interpolate. Within cells test error and top eigenvalue share their scatter.
    `extra` are axes beside these, `diverged` holds (width, depth, seed).
    """
    random = np.random.default_rng(0)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("networks", "curvature", "perturbations")}
    pairs: list[dict[str, Any]] = []
    for more, width, depth, batch_size in product(extra, widths, depths, batch_sizes):
        axes = keys_of(study, width, depth, batch_size, more)
        for seed in range(seeds):
            lost = (width, depth, seed) in diverged
            shared, own, other = np.exp(random.normal(0, scatter, 3))
            error = 0.2 * (width / 8) ** -0.3 * shared
            top = 5 * (width / 8) ** -0.5 * depth**0.3 * shared * own**0.5
            fits = 1.0 if width > 8 else 0.97
            loss = 3 * error * other
            numbers = {"train_accuracy": fits, "test_accuracy": 1 - error, "generalization_gap": fits - 1 + error}
            numbers |= {"train_loss": 0.01 * (width / 8) ** -0.7 * own, "test_loss": loss}
            numbers |= {"generalization_gap_loss": loss - 0.01, "weight_norm_final": 2.0 * width**0.5}
            numbers |= {"movement": 3 * other, "relative_movement": (width / 8) ** -0.4 * other}
            first = axes | {"seed": seed, "diverged": lost}
            values = {name: None if lost else value for name, value in numbers.items()}
            rows["networks"].append(first | {"loss": "cross_entropy"} | values)
            for final in (False, True):
                values = {"top_eigenvalue": top if final else 99.0, "top_eigenvalue_over_loss": 100 * top}
                values |= {"trace": 9 * top, "top_eigenvalue_converged": True, "trace_converged": True, "loss": 0.01}
                rows["curvature"].append(first | {"final": final} | {k: None if lost else v for k, v in values.items()})
            for (size, factor), kind in product(NOISES, ("noise", "relative_noise")):
                if not lost:
                    place = {"kind": kind, "size": size, "rise": factor * top * 1e-4 * other, "loss": 0.01}
                    rows["perturbations"].append(axes | {"seed": seed} | place)
        for (a, b), kind in product(combinations(range(seeds), 2), ("linear", "bezier")):
            lost = any((width, depth, seed) in diverged for seed in (a, b))
            height = (
                (0.5 if kind == "linear" else 0.01) * depth / np.log2(width) * np.exp(random.normal(0, 2 * scatter))
            )
            values = {
                "barrier_train_loss": height,
                "barrier_test_error": height / 5,
                "chord": 5.0 + random.normal(0, 0.1),
            }
            values |= {
                "detour": 1.1 + height,
                "turning": 1 + height,
                "sharpness_mean": 8 * height,
                "sharpness_interior": 6 * height,
                "sharpness_over_loss_interior": 60 * height,
                "disagreement": 0.1 + height,
            }
            named = axes | {"seed_a": a, "seed_b": b, "kind": kind, "diverged": lost}
            pairs.append(named | {name: None if lost else value for name, value in values.items()})
    made = {name: pd.DataFrame(found) for name, found in (rows | {"connections": pairs}).items() if found}
    return with_cells(made, extra)
