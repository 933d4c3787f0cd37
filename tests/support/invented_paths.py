"""Invented tables of paths between networks, and of planes through them, for the tests of figures."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from drawn import filled
from invented_cells import NO_MORE, Extra, keys_of, with_cells

from isthmus.tables.descriptions import table

ALL_KINDS = ("linear", "linear-aligned", "bezier", "polychain", "bezier-aligned")
CURVES = ("bezier", "polychain", "bezier-aligned")
TEST_EXAMPLES = 400
Rows = list[dict[str, Any]]


def _profile(random: np.random.Generator, kind: str, width: int, depth: int, ends: np.ndarray) -> dict[str, Any]:
    """Invented losses and errors along a path, higher in the middle, and lower ones for wide networks and curves."""
    t = np.linspace(0, 1, 61 if kind in CURVES else 25)
    height = {"linear": 1.6, "linear-aligned": 40 * width**-1.8, "polychain": 0.012, "bezier": 0.006}.get(kind, 0.004)
    height *= depth**0.7 * np.exp(random.normal(0, 0.25)) * (1 if kind == "linear" else (8 / width) ** 0.8)
    bump = (4 * t * (1 - t)) ** 2 - (0.05 if kind in CURVES else 0) * np.sin(np.pi * t)
    line = (1 - t) * ends[0] + t * ends[1]
    train = np.maximum(line + height * bump - 0.1 * ends.mean() * np.sin(np.pi * t) * (kind in CURVES), 1e-9)
    error = 0.03 + 0.2 / np.sqrt(width) + 0.55 * np.tanh(0.8 * height * bump) + random.normal(0, 0.002)
    error = np.round(np.clip(error, 0, 1) * TEST_EXAMPLES) / TEST_EXAMPLES
    return {"t": t, "train_loss": train, "test_error": error, "test_loss": train + 0.3}


def _geometry(random: np.random.Generator, kind: str, width: int, bends: bool) -> dict[str, float]:
    chord = 3 * np.sqrt(width) * (0.7 if "aligned" in kind else 1.0) * random.uniform(0.95, 1.05)
    across = chord * random.uniform(0.5, 0.7) * (10 / (width + 10)) ** 0.2 if bends else 0.0
    share = 2 if kind == "polychain" else 1
    leg = np.hypot(chord / 2, across * share / 2)
    length = chord if not bends else float(2 * leg if kind == "polychain" else chord + (2 * leg - chord) * 0.9)
    return {
        "chord": float(chord),
        "length": float(length),
        "detour": float(length / chord),
        "turning": float(2 * np.arctan2(across * share, chord)),
        "bend_along": float(random.normal(0, 0.05) * chord) if bends else 0.0,
        "bend_across": float(across),
    }


def _barrier(values: np.ndarray, t: np.ndarray) -> float:
    return float((values - ((1 - t) * values[0] + t * values[-1])).max())


def _connection(
    keys: dict[str, Any], kind: str, ends: np.ndarray, random: np.random.Generator, sharpness: bool
) -> tuple[dict[str, Any], Rows]:
    """A row of `connections` and its rows of `paths`."""
    width, depth = keys["width"], keys["depth"]
    profile = _profile(random, kind, width, depth, ends)
    geometry = _geometry(random, kind, width, kind in CURVES)
    top = 30 * np.exp(random.normal(0, 0.2)) * depth * {"linear": 3.0}.get(kind, 1.0) * (32 / width) ** 0.3
    measured = {"sharpness_mean": float(top), "sharpness_over_loss_mean": float(top / ends.mean())} if sharpness else {}
    row = {
        "barrier_train_loss": _barrier(profile["train_loss"], profile["t"]),
        "barrier_test_error": _barrier(profile["test_error"], profile["t"]),
        "diverged": False,
        "reason": "measured",
        **geometry,
        **measured,
    }
    points = [
        filled(
            "paths",
            keys
            | {
                "kind": kind,
                "diverged": False,
                "t": float(t),
                "train_loss": float(loss),
                "train_accuracy": 1.0,
                "test_loss": float(test_loss),
                "test_accuracy": float(1 - error),
            },
        )
        for t, loss, error, test_loss in zip(*profile.values(), strict=True)
    ]
    return row, points


def _plane(keys: dict[str, Any], kind: str, connection: dict[str, Any], points: int) -> Rows:
    """An invented landscape with a valley along the path, steep outside."""
    chord, across = (connection.get("chord") or 1.0), (connection.get("bend_across") or 1.0)
    if connection["diverged"]:
        return [filled("planes", keys | {"plane": kind, "diverged": True})]
    x, y = np.linspace(-0.2 * chord, 1.2 * chord, points), np.linspace(-0.2 * across, 1.2 * across, points)
    floor = 0.3 * keys["width"] ** -1.5
    if kind == "random":
        x = y = np.linspace(-1, 1, points)
        height = (1.5 * x[None, :] ** 2 + (y[:, None] + 0.3 * x[None, :]) ** 2) * 2
    else:
        middle = 2 * (x / chord) * (1 - x / chord) * across
        off = (y[:, None] - middle[None, :]) / across
        beyond = np.maximum(abs(x / chord - 0.5) - 0.5, 0)
        height = 2.5 * np.minimum(off**2, 0.6 + abs(off)) + 12 * beyond[None, :] ** 2 * (1 + off**2)
    loss = floor + height * (1 + 4 * height)
    rows = []
    for j, i in product(range(points), repeat=2):
        finite = not (kind != "random" and i == points - 1 and j > points - 4)
        values = {"train_loss": float(loss[j, i]), "test_accuracy": float(0.9 * np.exp(-2 * height[j, i]) + 0.08)}
        values |= {"train_accuracy": 0.5, "test_loss": 1.0}
        counts = {"train_examples": 1200, "test_examples": TEST_EXAMPLES, "statistics_examples": 0}
        place = {"plane": kind, "diverged": False, "x": float(x[i]), "y": float(y[j])}
        rows.append(filled("planes", keys | place | counts | (values if finite else {"test_accuracy": 0.1})))
    return rows


def make_tables(
    study: str = "digits",
    widths: Sequence[int] = (8, 16, 32, 64, 128),
    depths: Sequence[int] = (1, 3),
    batch_sizes: Sequence[int] = (32, 256),
    seeds: int = 5,
    extra: Extra = NO_MORE,
    kinds: Sequence[str] = ALL_KINDS,
    diverged: Sequence[tuple[int, int, int]] = ((8, 3, 0),),
    fits_diverged: Sequence[tuple[int, str]] = ((16, "polychain"),),
    loss: str = "cross_entropy",
    sharpness: bool = True,
    plane_points: int = 21,
) -> dict[str, Rows]:
    """Invented but plausible rows of `connections`, `paths`, `planes` and `networks`.

    `extra` are axes beside these; `diverged` holds (width, depth, seed), `fits_diverged` (width, kind), of
    which the fit of the pair (1, 2) at the smallest depth and batch size diverged.
    """
    random = np.random.default_rng(0)
    made: dict[str, Rows] = {"connections": [], "paths": [], "planes": [], "networks": []}
    for more, width, depth, batch in product(extra, widths, depths, batch_sizes):
        cell = keys_of(study, width, depth, batch, more)
        floors = 0.5 * width**-1.5 * batch**0.2 * np.exp(random.normal(0, 0.2, seeds))
        states = [{"seed": seed, "diverged": (width, depth, seed) in diverged, "loss": loss} for seed in range(seeds)]
        made["networks"] += [cell | state for state in states]
        first: dict[str, dict[str, Any]] = {}
        for (a, b), kind in product(combinations(range(seeds), 2), kinds):
            keys = cell | {"seed_a": a, "seed_b": b}
            lost_network = states[a]["diverged"] or states[b]["diverged"]
            lost_fit = (width, kind) in fits_diverged and (a, b, depth, batch) == (1, 2, depths[0], batch_sizes[0])
            row, points = _connection(keys, kind, floors[[a, b]], random, sharpness)
            if lost_network or lost_fit:
                row = {"diverged": True, "reason": "network diverged" if lost_network else "fit diverged"}
                points = [filled("paths", keys | {"kind": kind, "diverged": True})]
            row |= {"kind": kind, "dataset": "digits", "architecture": "mlp", "normalization": "none", "loss": loss}
            row |= {"parameters": 100 * width, "points": len(points), "seconds": 1.0}
            counts = {"train_examples": 1200, "test_examples": TEST_EXAMPLES, "statistics_examples": 0}
            row |= counts
            made["connections"].append(filled("connections", keys | row))
            made["paths"] += [point | counts for point in points]
            first.setdefault(kind, keys | row)
        if plane_points and first:
            curved = next((kind for kind in kinds if kind in CURVES), None)
            for kind in filter(None, (curved, "random")):
                connection = first[curved or kinds[0]]
                made["planes"] += _plane(cell | {"seed_a": 0, "seed_b": 1}, kind, connection, plane_points)
    return made


def frames(**given: Any) -> dict[str, pd.DataFrame]:
    """The invented tables as data frames."""
    columns = {name: [column.name for column in table(name).columns] for name in ("connections", "paths", "planes")}
    made = make_tables(**given)
    tables = {name: pd.DataFrame(rows, columns=columns.get(name)).infer_objects() for name, rows in made.items()}
    return with_cells(tables, given.get("extra", NO_MORE))
