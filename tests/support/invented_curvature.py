"""Invented tables of curvature, spectra and disturbed weights, for the tests of figures."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from drawn import filled
from invented_cells import NO_MORE, Extra, keys_of, with_cells

from isthmus.tables.descriptions import table

NAMES = ("networks", "curvature", "spectrum", "perturbations")
SIZES = {"noise": (0.005, 0.02), "relative_noise": (0.05, 0.2), "worst": (0.05,), "adaptive_worst": (0.5,)}
RISES = {"noise": 20.0, "relative_noise": 4.0, "worst": 30.0, "adaptive_worst": 1.5}
IMAGES = 1000
Rows = list[dict[str, Any]]


def _spectrum(random: np.random.Generator, top: float, parameters: int) -> tuple[np.ndarray, np.ndarray, float]:
    """An invented spectrum: a bulk at 0, negative and positive tails, and ten eigenvalues that stand out."""
    nodes = np.concatenate([[0.0], random.normal(0, 0.02 * top, 12), top * np.linspace(0.25, 1, 10) ** 1.6])
    weights = np.concatenate([[0.9], np.full(12, 0.1 / 12), np.full(10, 1 / parameters)])
    width = 0.01 * (nodes.max() - nodes.min())
    grid = np.linspace(nodes.min() - 5 * width, nodes.max() + 5 * width, 200)
    bells = np.exp(-0.5 * ((grid[:, None] - nodes) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return grid, bells @ weights, float(width)


def _measured(random: np.random.Generator, width: int, depth: int, batch: int, share: float) -> dict[str, float]:
    """Invented curvature after a `share` of training: it rises, and falls with the loss at the end."""
    loss = 2.3 * np.exp(-6 * share) + 0.05 * share * (8 / width) ** 1.2 * (batch / 32) ** 0.3
    loss *= np.exp(random.normal(0, 0.1))
    top = 6 * depth * (1 + 9 * np.tanh(6 * share)) * (32 / batch) ** 0.4 * (loss / 0.05) ** (0.8 * share)
    top *= (16 / width) ** 0.3 * np.exp(random.normal(0, 0.15))
    return {
        "loss": loss,
        "top_eigenvalue": top,
        "top_eigenvalue_over_loss": top / loss,
        "gauss_newton_top_eigenvalue": top * (0.97 if share else 0.8),
        "trace": top * (6 + 3 * np.log2(width)) * np.exp(random.normal(0, 0.05)),
    }


def make_tables(
    study: str = "digits",
    widths: Sequence[int] = (8, 16, 32, 64, 128),
    depths: Sequence[int] = (1, 3),
    batch_sizes: Sequence[int] = (32, 256),
    seeds: int = 5,
    extra: Extra = NO_MORE,
    diverged: Sequence[tuple[int, int, int]] = ((8, 3, 0),),
    snapshots: Sequence[int] = (0, 1, 3, 10, 20),
    epochs: float = 30.0,
    spectra: bool = True,
    sizes: dict[str, tuple[float, ...]] = SIZES,
    loss: str = "cross_entropy",
) -> dict[str, Rows]:
    """Invented but plausible rows of the tables that the figures are drawn from.

    `extra` are ends of cell names, `diverged` holds (width, depth, seed), `snapshots` are epochs before the end.
    """
    random = np.random.default_rng(0)
    made: dict[str, Rows] = {name: [] for name in NAMES}
    for more, width, depth, batch, seed in product(extra, widths, depths, batch_sizes, range(seeds)):
        keys = keys_of(study, width, depth, batch, more) | {"seed": seed}
        lost, parameters = (width, depth, seed) in diverged, 75 * width + (depth - 1) * width**2
        common = keys | {"diverged": lost, "dataset": "digits", "architecture": "mlp", "parameters": parameters}
        made["networks"].append(common | {"loss": loss})
        final: dict[str, float] = {}
        for epoch in (*map(float, snapshots), epochs):
            values = _measured(random, width, depth, batch, epoch / epochs)
            rate = 0.1 * max(np.cos(np.pi / 2 * epoch / (epochs + 1)), 0)
            row = common | {"final": epoch == epochs, "epoch": epoch, "images": IMAGES, "learning_rate": 0.1}
            row |= {"statistics_examples": 0, "products": 30, "seconds": 1.0, "stability_threshold": float(2 / rate)}
            flags = {"top_eigenvalue_converged": True, "trace_converged": True}
            made["curvature"].append(filled("curvature", row | ({} if lost else values | flags)))
            final = values
        if lost:
            continue
        if spectra:
            for place, density, smoothing in zip(*_spectrum_columns(random, final, parameters), strict=True):
                point = {"eigenvalue": place, "density": density, "spread": density / 10, "smoothing": smoothing}
                made["spectrum"].append(filled("spectrum", keys | point))
        for kind in sizes:
            for size in sizes[kind]:
                rise = RISES[kind] * (size / max(SIZES[kind])) ** 2 * (16 / width) ** 0.4 * depth
                rise *= float(np.exp(random.normal(0, 0.3)))
                undisturbed = final["loss"]
                change = {"kind": kind, "size": size, "images": 5000, "draws": 5, "loss": undisturbed}
                change |= {
                    "rise": rise * undisturbed,
                    "relative_rise": rise,
                    "disturbed_loss": (1 + rise) * undisturbed,
                }
                made["perturbations"].append(filled("perturbations", keys | change))
    return made


def _spectrum_columns(random: np.random.Generator, final: dict[str, float], parameters: int) -> list[list[float]]:
    grid, density, width = _spectrum(random, final["top_eigenvalue"], parameters)
    return [grid.tolist(), density.tolist(), [width] * len(grid)]


def frames(**given: Any) -> dict[str, pd.DataFrame]:
    """The invented tables as data frames."""
    columns = {name: [column.name for column in table(name).columns] for name in NAMES[1:]}
    tables = {name: pd.DataFrame(rows, columns=columns.get(name)) for name, rows in make_tables(**given).items()}
    return with_cells(tables, given.get("extra", NO_MORE))
