"""The scoreboard as a whole: how often it says something false, and how often it finds what was published.

Tables of a whole study are invented, with the axes of a small grid and cells that scatter unequally. Where nothing
depends on width, depth, batch size or kind, no claim may read `reproduced` or `contradicted` wrongly in more than 5 %
of scoreboards; with effects of the published kind, they are found.
"""

from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from invented_cells import with_cells
from invented_claims import frame
from scipy.stats import binomtest

from isthmus.analyses.claims.measures import measure
from isthmus.analyses.claims.rows import NotMeasured, rows_of_study
from isthmus.analyses.claims.statements import Claim, parse_claims, read_claims
from isthmus.analyses.claims.verdicts import CONTRADICTED, REPRODUCED, judge

WIDTHS, DEPTHS, BATCHES, SEEDS = (8, 32, 128), (1, 3), (32, 256), 5
NOTHING: dict[str, float] = {}
PUBLISHED = {
    # powers of the width
    "movement": -0.5, "barrier": -0.3, "detour": -0.4, "turning": -0.15, "sharpness": -0.7, "kernel": -0.5,
    # change per doubling of the width
    "accuracy": 0.006, "cka": 0.06, "disagreement": -0.01, "corrupted": -0.01,
    # of doubling the depth and of eight times the batch size, on the same scales
    "depth": 0.3, "batch accuracy": -0.016, "batch sharpness": 2.0,
    # of kinds: curves and matched lines against lines; tickets against their controls
    "curve": -0.2, "matched": -0.15, "reinitialized": -0.03, "pruned once": -0.01,
}  # fmt: skip
CONTROLS = (("one_shot", "pruned once"), ("reinitialized", "reinitialized"))
FOUND = ("A1a", "A1d", "A2a", "A3a", "B1c", "B2a", "B3a", "B4a", "B4b", "B5a", "B5b", "B8a", "D3", "D5", "D6")


def invented(effects: dict[str, float], random: np.random.Generator, scatter: float = 1.0) -> dict[str, pd.DataFrame]:
    """The tables of a study; `scatter` 0 gives what they are in the mean."""

    def effect(name: str) -> float:
        return effects.get(name, 0.0)

    def noise(size: float) -> float:
        return float(scatter * size * random.normal())

    names = ("networks", "curvature", "kernels", "connections", "robustness", "perturbations", "tickets")
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for width, depth, batch in product(WIDTHS, DEPTHS, BATCHES):
        cell = f"width={width}+depth={depth}+batch_size={batch}"
        axes = {"study": "s", "cell": cell, "width": width, "depth": depth, "batch_size": batch}
        doublings, deeper, larger = np.log2(width / 8), np.log2(depth), float(batch == 256)
        loud = 1.5 if batch == 256 else 1.0
        for seed in range(SEEDS):
            first = axes | {"seed": seed, "diverged": False}
            shared = scatter * random.normal()
            accuracy = 0.93 + effect("accuracy") * doublings + effect("batch accuracy") * larger + noise(0.003 * loud)
            fit = 0.97 if width == 8 else 1.0
            known = {"loss": "cross_entropy", "label_noise": 0.0, "train_accuracy": fit, "train_loss": 0.01}
            moved = np.exp(effect("movement") * np.log(width / 8) + 0.03 * loud * shared + noise(0.02))
            rows["networks"].append(first | known | {"test_accuracy": accuracy, "relative_movement": moved})
            top = effect("sharpness") * np.log(width / 8) + effect("batch sharpness") * larger + noise(0.3 * loud)
            curved = {"final": True, "epoch": 9.0, "loss": 0.01, "top_eigenvalue": np.exp(top)}
            rows["curvature"].append(first | curved | {"top_eigenvalue_over_loss": 100 * np.exp(top)})
            changed = np.exp(effect("kernel") * np.log(width / 8) + noise(0.2))
            rows["kernels"].append(first | {"final": True, "relative_change": changed})
            lost = 0.6 + effect("corrupted") * doublings - effect("depth") * 0.05 * deeper
            rows["robustness"].append(first | {"severity": 3, "accuracy": lost + noise(0.01)})
            rise = 0.02 + larger * effect("batch sharpness") + noise(0.01)
            disturbed = {"seed": seed, "kind": "noise", "size": 0.005, "loss": 0.01, "relative_rise": rise}
            rows["perturbations"].append(axes | disturbed)
            if (width, depth, batch) == (32, 3, 32):
                for kind, name in (("dense", ""), ("ticket", ""), *CONTROLS):
                    kept = {"kind": kind, "kept_fraction": 1.0 if kind == "dense" else 0.1}
                    rows["tickets"].append(first | kept | {"test_accuracy": 0.93 + effect(name) + noise(0.004)})
        own = {seed: scatter * random.normal() for seed in range(SEEDS)}
        for (a, b), kind in product(combinations(range(SEEDS), 2), ("linear", "linear-aligned", "bezier")):
            pair = axes | {"seed_a": a, "seed_b": b, "kind": kind, "points": 25, "diverged": False}
            together = own[a] + own[b]
            height = 0.4 * (1 + effect("barrier") * doublings / 4) + effect("depth") * 0.3 * deeper
            height += {"bezier": effect("curve"), "linear-aligned": effect("matched")}.get(kind, 0.0)
            log = np.log(width / 8)
            values = {
                "barrier_test_error": height + 0.02 * together + noise(0.01),
                "detour": 1 + np.exp(-1 + effect("detour") * log + effect("depth") * np.log(depth) + 0.1 * together),
                "turning": np.exp(effect("turning") * log + effect("depth") * np.log(depth) + 0.05 * together),
                "sharpness_mean": np.exp(effect("sharpness") * log + 0.3 * together),
                "sharpness_over_loss_mean": np.exp(5 + effect("sharpness") * log + 0.3 * together),
                "cka": 0.5 + effect("cka") * doublings + 0.01 * together,
                "disagreement": 0.06 + effect("disagreement") * doublings + 0.004 * together,
            }
            rows["connections"].append(pair | values)
    return with_cells({name: frame(name, found) for name, found in rows.items()})


CLAIMS = parse_claims(read_claims())


def truth(claim: Claim, tables: dict[str, pd.DataFrame]) -> float:
    """What the measure of a claim is in tables without scatter; NaN where it cannot be measured."""
    try:
        return float(measure(claim, rows_of_study(claim.table, tables, "s")).result.value)
    except NotMeasured:
        return np.nan


def wrong(row: dict[str, Any], value: float) -> bool:
    """Whether a verdict on the direction is false, given the true value of the measure."""
    above, below = row["expected_above"], row["expected_below"]
    holds = (above is None or value > above + 1e-9) and (below is None or value < below - 1e-9)
    fails = (above is not None and value < above - 1e-9) or (below is not None and value > below + 1e-9)
    return (row["direction"] == REPRODUCED and not holds) or (row["direction"] == CONTRADICTED and not fails)


Boards = list[list[dict[str, Any]]]
Truths = dict[tuple[str, str | None], float]


def truths(effects: dict[str, float]) -> Truths:
    """The true values of the measures of all claims."""
    exact = invented(effects, np.random.default_rng(0), scatter=0.0)
    return {(claim.id, claim.twin): truth(claim, exact) for claim in CLAIMS}


def scoreboards(effects: dict[str, float], count: int) -> Boards:
    """Scoreboards of so many invented studies."""
    return [judge(CLAIMS, invented(effects, np.random.default_rng(number))) for number in range(count)]


def false_ones(boards: Boards, values: Truths) -> int:
    """How many scoreboards hold a false verdict."""
    return sum(any(wrong(row, values[row["claim"], row["twin"]]) for row in board) for board in boards)


@pytest.fixture(scope="module", params=[3, pytest.param(150, marks=pytest.mark.exhaustive)])
def without_effects(request: pytest.FixtureRequest) -> Boards:
    return scoreboards(NOTHING, request.param)


@pytest.fixture(scope="module")
def nothing() -> Truths:
    return truths(NOTHING)


def test_a_scoreboard_without_any_effect_says_nothing_false(without_effects: Boards, nothing: Truths) -> None:
    """In at most 5 % of cases, as far as so many of them tell."""
    assert all(sum(row["p"] is not None for row in board) > 25 for board in without_effects)
    found = false_ones(without_effects, nothing)
    print(f"{found} of {len(without_effects)} scoreboards without any effect hold a false verdict")
    assert binomtest(found, len(without_effects), 0.05, alternative="greater").pvalue > 0.05


def test_corrected_for_the_presets_of_a_gallery_too_false_verdicts_are_as_rare(
    without_effects: Boards, nothing: Truths
) -> None:
    """In bold, that is: in at most 5 % of galleries of 18 presets, so in one of 360 scoreboards."""
    firm = [
        [row for row in board if row["p_corrected"] is not None and row["p_corrected"] <= 0.05 / 18]
        for board in without_effects
    ]
    found = false_ones(firm, nothing)
    print(f"{found} of {len(firm)} scoreboards without any effect hold a false verdict in bold")
    assert binomtest(found, len(firm), 0.05 / 18, alternative="greater").pvalue > 0.05


def test_uncorrected_verdicts_would_be_false_much_more_often(without_effects: Boards, nothing: Truths) -> None:
    alone = [[row | {"direction": row["alone"] or row["direction"]} for row in board] for board in without_effects]
    assert false_ones(alone, nothing) / len(alone) > 0.3


@pytest.mark.parametrize("studies", [1, pytest.param(5, marks=pytest.mark.exhaustive)])
def test_published_effects_are_found(studies: int) -> None:
    """Each claim with an effect behind it in four of five cases at least, and none of them is contradicted."""
    boards, expected = scoreboards(PUBLISHED, studies), set(FOUND)
    rows = pd.DataFrame([row for board in boards for row in board if row["claim"] in expected and not row["twin"]])
    power = (rows["direction"] == REPRODUCED).groupby(rows["claim"]).mean()
    assert set(power.index) == expected
    assert power.min() >= 0.8, power.to_dict()
    assert not (rows["direction"] == CONTRADICTED).any()
    assert false_ones(boards, truths(PUBLISHED)) <= 1
