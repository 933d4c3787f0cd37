"""Invented tables of trained networks and their epochs, for the tests of figures."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from invented_cells import NO_MORE, Extra, keys_of, with_cells

EXAMPLES, CLASSES, FEATURES = 1200, 10, 64


def make_tables(
    study: str = "digits",
    widths: Sequence[int] = (8, 16, 32, 64, 128),
    depths: Sequence[int] = (1, 3),
    batch_sizes: Sequence[int] = (32, 256),
    seeds: int = 5,
    extra: Extra = NO_MORE,
    diverged: Sequence[tuple[int, int, int]] = ((8, 3, 0), (128, 3, 1), (128, 3, 4)),
    loss: str = "cross_entropy",
    epochs: int = 30,
) -> dict[str, list[dict[str, Any]]]:
    """Invented but plausible rows of the tables `networks` and `history`.

    `extra` are axes beside these; `diverged` holds (width, depth, seed).
    """
    random = np.random.default_rng(0)
    networks, history = [], []
    for more, width, depth, batch, seed in product(extra, widths, depths, batch_sizes, range(seeds)):
        keys = keys_of(study, width, depth, batch, more) | {"seed": seed}
        parameters = FEATURES * width + (depth - 1) * width * (width + 1) + width * (CLASSES + 1) + CLASSES
        lost = (width, depth, seed) in diverged
        noise = more.get("label_noise", 0.0)
        reach = 1 - np.exp(-((parameters / EXAMPLES) ** 0.9)) * 0.4 * batch / (batch + 100)
        accuracy = min(1.0, float(np.floor((reach + random.normal(0, 0.004)) * EXAMPLES + 3) / EXAMPLES))
        test = accuracy * (0.97 - noise / 2) - 0.06 / np.log2(width) - 0.004 * depth + random.normal(0, 0.006)
        final = 0.3 * (EXAMPLES / parameters) ** 1.5 * (1 + batch / 100) * np.exp(random.normal(0, 0.2))
        floor = 0.35 / np.sqrt(np.log2(width)) * (1 + noise)
        results: dict[str, float | None] = {
            "train_loss": final,
            "train_accuracy": accuracy,
            "train_accuracy_clean": accuracy,
            "test_loss": final + floor,
            "test_accuracy": float(test),
            "generalization_gap": float(accuracy - test),
            "generalization_gap_loss": floor,
            "weight_norm_final": 14.0,
            "movement": 5.0,
            "relative_movement": 0.5,
        }
        row = keys | {
            "dataset": "digits",
            "architecture": "mlp",
            "normalization": "none",
            "activation": "relu",
            "loss": loss,
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "weight_decay": 0.0,
            "sharpness_radius": 0.0,
            "sharpness_adaptive": False,
            "averaging": "none",
            "averaged": 0,
            "label_noise": noise,
            "precision": "float32",
            "classes": CLASSES,
            "train_examples": EXAMPLES,
            "test_examples": 400,
            "statistics_examples": 0,
            "parameters": parameters,
            "epochs": float(epochs),
            "steps": epochs * EXAMPLES // batch,
            "seconds": 1.0,
            "stopped": "diverged" if lost else "budget",
            "diverged": lost,
            "weight_norm_initial": 10.0,
        }
        networks.append(row | (dict.fromkeys(results) if lost else results))
        jitter = np.exp(random.normal(0, 0.05))
        for epoch in range(epochs + 1):
            now = final + (2.3 - final) * np.exp(-8 * epoch / epochs) * jitter
            losses = None if lost and epoch > 3 else float(now)
            history.append(
                keys
                | {
                    "epoch": float(epoch),
                    "step": epoch * EXAMPLES // batch,
                    "learning_rate": 0.1,
                    "statistics_examples": 0,
                    "train_loss": losses,
                    "train_accuracy": losses and accuracy,
                    "test_loss": losses and losses + floor * (1 - np.exp(-8 * epoch / epochs)),
                    "test_accuracy": losses and float(test),
                    "weight_norm": losses and 12.0,
                    "movement": losses and 1.0,
                }
            )
    return {"networks": networks, "history": history}


def frames(**given: Any) -> dict[str, pd.DataFrame]:
    """The invented tables as data frames."""
    tables = {name: pd.DataFrame(rows).infer_objects() for name, rows in make_tables(**given).items()}
    return with_cells(tables, given.get("extra", NO_MORE))
