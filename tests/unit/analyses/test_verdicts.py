"""Verdicts over settings, with the loss taken into account, and over all claims together."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from invented_claims import FALLS, claim, connections, curvature, frame, judge, networks, with_twins
from scipy.stats import binomtest

from isthmus.analyses.claims.statements import Claim, parse_claims

TABLES = dict[str, pd.DataFrame]


def rows_of(tables: TABLES, *claims: Claim) -> dict[tuple[str, str | None], dict[str, Any]]:
    return {(row["claim"], row["twin"]): row for row in judge(claims, tables)}


def test_settings_that_contradict_each_other_are_mixed() -> None:
    falls, rises = networks(depths=(1,)), networks(depths=(4,), power=0.5)
    together = pd.concat([falls, rises], ignore_index=True)
    (row,) = judge([claim(**FALLS)], {"networks": together})
    assert (row["direction"], row["settings"]) == ("mixed", 2)
    assert (row["settings_for"], row["settings_against"]) == (1, 1)


def test_differences_between_settings_do_not_widen_the_interval() -> None:
    alike = networks(depths=(1, 2, 4))
    apart = alike.assign(relative_movement=alike["relative_movement"] * 10.0 ** alike["depth"].astype(float))
    steeper = apart.assign(relative_movement=apart["relative_movement"] * apart["width"] ** (-0.1 * apart["depth"]))
    found = [judge([claim(**FALLS)], {"networks": each})[0] for each in (alike, apart, steeper)]
    widths = [row["high"] - row["low"] for row in found]
    assert widths[1:] == pytest.approx([widths[0]] * 2)
    assert found[1]["value"] == pytest.approx(found[0]["value"])
    assert found[2]["value"] == pytest.approx(found[0]["value"] - 0.1 * 7 / 3)


def test_more_settings_make_a_smaller_error_and_not_a_wider_interval() -> None:
    few, many = (judge([claim(**FALLS)], {"networks": networks(depths=d)})[0] for d in ((1,), (1, 2, 4, 8)))
    assert many["high"] - many["low"] < 0.7 * (few["high"] - few["low"])


def test_the_narrowest_that_fit_are_those_of_each_setting() -> None:
    table = networks(depths=(1, 4))
    table.loc[(table["depth"] == 4) & (table["width"] == 32), "train_accuracy"] = 0.9
    given = {"quantity": "test_accuracy", "where": {"cell_train_accuracy": {"at_least": 0.99}}}
    (row,) = judge(
        [claim(**given, measure={"kind": "difference", "by": "width", "of": "largest", "to": "smallest"})],
        {"networks": table},
    )
    assert (row["settings"], row["comparison"]) == (2, "width 512 - smallest")
    assert row["value"] == pytest.approx((0.04 + 0.02) / 2, abs=0.002)


def test_a_peak_is_looked_for_only_where_a_grid_can_show_it() -> None:
    given = {
        "quantity": "test_accuracy",
        "measure": {"kind": "smallest_step", "by": "width"},
        "expect": {"above": -0.01},
    }
    spans = {"cell_train_accuracy": 0.99}
    table = networks(depths=(1, 4))
    (row,) = judge([claim(**given, spans=spans)], {"networks": table})
    assert row["direction"] == "not measured"
    assert row["reason"] == "the grid has no width with a train accuracy below 0.99"
    table.loc[(table["depth"] == 4) & (table["width"] == 32), "train_accuracy"] = 0.9
    (row,) = judge([claim(**given, spans=spans)], {"networks": table})
    assert (row["direction"], row["settings"]) == ("reproduced", 1)


def test_a_setup_is_that_of_training_and_not_of_what_was_measured_on() -> None:
    """A path evaluated on 1,000 examples is one of networks trained on 5,000."""
    of = networks("mnist", "MNIST").assign(train_examples=5000)
    paths = connections(of, kinds=("linear",)).assign(train_examples=1000)
    given = {"table": "connections", "quantity": "barrier_test_error", "measure": {"kind": "mean"}, "baseline": 0}
    (row,) = judge([claim(**given, setup={"train_examples": 5000})], {"networks": of, "connections": paths})
    assert row["as_published"]
    (row,) = judge([claim(**given, setup={"train_examples": 1000})], {"networks": of, "connections": paths})
    assert not row["as_published"]


# Counts


def manifold(found: int, of: int) -> TABLES:
    rows = [{"study": "digits", "sweep": "few", "seed": seed, "solved": seed < found} for seed in range(of)]
    return {"networks": networks(), "manifold": frame("manifold", rows)}


@pytest.mark.parametrize(("of", "expected"), [(8, "inconclusive"), (72, "reproduced")])
def test_none_of_eight_is_no_proof_and_none_of_72_is(of: int, expected: str) -> None:
    given = {"table": "manifold", "quantity": "solved", "measure": {"kind": "proportion"}, "baseline": 0.1}
    (row,) = judge([claim(**given, published=0, expect={"below": 0.05})], manifold(0, of))
    exact = binomtest(0, of).proportion_ci(0.95, method="exact")
    assert (row["value"], row["low"], row["high"]) == pytest.approx((0, exact.low, exact.high))
    assert row["direction"] == expected


def test_networks_that_do_not_differ_give_no_interval() -> None:
    table = networks().assign(relative_movement=lambda rows: 0.1 / rows["width"])
    (row,) = judge([claim()], {"networks": table})
    assert row["value"] == pytest.approx(16)
    assert (row["low"], row["high"], row["p"], row["direction"]) == (None, None, None, "inconclusive")
    assert row["reason"] == "networks do not differ, so there is no interval"


def test_pairs_that_agree_perfectly_are_measured() -> None:
    (disagreement,) = (each for each in parse_claims(_claims("D6")))
    table = networks(widths=(32, 512))
    rows = [
        {"study": "digits", "cell": cell, "kind": "linear", "diverged": False, "seed_a": a, "seed_b": b}
        | {"width": int(cell[6:].split("+")[0]), "disagreement": (0.0 if "512" in cell else 0.05) + 0.002 * (a * b % 3)}
        for cell in table["cell"].unique()
        for b in range(4)
        for a in range(b)
    ]
    (row,) = judge([disagreement], {"networks": table, "connections": frame("connections", rows)})
    assert row["direction"] == "reproduced"


@pytest.mark.parametrize(
    ("name", "dataset", "height", "expected"),
    [
        ("D10", "MNIST", 0.007, "reproduced"),
        ("D10", "MNIST", 0.05, "contradicted"),
        ("D10", "digits", 0.007, "not measured"),
        ("D11", "MNIST", 0.01, "reproduced"),
        ("D11", "MNIST", 0.05, "contradicted"),
        ("D11", "digits", 0.01, "not measured"),
        ("D14", "CIFAR10", 0.003, "reproduced"),
        ("D14", "CIFAR10", 0.03, "contradicted"),
    ],
)
def test_barriers_of_a_few_points_are_none(name: str, dataset: str, height: float, expected: str) -> None:
    """D10 is about twins of LeNet from initialization and D11 about matched networks of 512 units, on MNIST alone.

    D14 is about the worst point of a curve on any data.
    """
    (statement,), of = (
        parse_claims(_claims(name)),
        networks(dataset=dataset, widths=(300, 512), depths=(2, 3)).assign(architecture="mlp"),
    )
    paths = connections(of, kinds=("linear-aligned", "bezier")).assign(points=25, dataset=dataset, architecture="mlp")
    heights = height + 0.01 * (paths["barrier_test_error"] - paths["barrier_test_error"].mean())
    paths["barrier_test_error" if name == "D11" else "barrier_max_test_error"] = heights
    twins = [
        {"study": "digits", "cell": cell, "seed": seed, "diverged": False, "points": 25, "step": step}
        | {"barrier_test_error": height * (1 + seed / 10) if step == 0 else 0.1}
        for cell, seed, step in product(of["cell"].unique(), range(4), (0, 100))
    ]
    tables = {"networks": of, "connections": paths, "stability": frame("stability", twins)}
    (row,) = judge([statement], tables)
    assert row["direction"] == expected, row["reason"]
    assert row["as_published"] == (name == "D10" and dataset == "MNIST")


def _claims(*wanted: str) -> dict[str, Any]:
    from isthmus.analyses.claims.statements import read_claims

    content = read_claims()
    return content | {"claims": [each for each in content["claims"] if each["id"] in wanted]}


# The loss


def test_what_follows_from_the_loss_alone_depends_on_the_loss() -> None:
    """Eigenvalues are losses to the power 0.8: lower for wide networks, higher when the loss is divided out."""
    of = networks()
    found = rows_of({"networks": of, "curvature": curvature(of, lambda loss: loss**0.8)}, *with_twins())
    assert found["B4c", None]["direction"] == "depends on the loss"
    assert found["B4c", "over_loss"]["direction"] == "contradicted"
    assert found["B4c", "over_loss"]["value"] == pytest.approx(0.2, abs=0.02)
    assert found["B4c", "equal_loss"]["direction"] == "inconclusive", "at equal loss all widths have equal eigenvalues"
    assert found["B4c", "equal_loss"]["value"] == pytest.approx(0, abs=0.02)


def test_what_holds_at_equal_loss_is_found_there() -> None:
    of = networks()
    table = curvature(of, lambda loss: loss**1.2)
    for column in ("top_eigenvalue", "top_eigenvalue_over_loss"):
        table[column] = table[column] * table["width"] ** -0.3
    found = rows_of({"networks": of, "curvature": table}, *with_twins())
    assert [row["direction"] for row in found.values()] == ["reproduced"] * 3
    assert found["B4c", "equal_loss"]["value"] == pytest.approx(-0.3, abs=0.02)


def test_the_equal_loss_is_the_lowest_that_all_networks_reach() -> None:
    """Between moments the eigenvalue is taken to follow a power of the loss, so that an exact power is met exactly."""
    of = networks(widths=(32, 512))
    table = curvature(of, lambda loss: 3 * loss**0.5)
    table["top_eigenvalue"] = 3 * table["loss"] ** 0.5
    given = {"measure": {"kind": "ratio", "by": "width", "of": "largest", "to": "smallest"}, "expect": {"below": 1}}
    found = rows_of({"networks": of, "curvature": table}, *with_twins(**given))
    assert found["B4c", "equal_loss"]["value"] == pytest.approx(1)
    final = {"networks": of, "curvature": table[table["final"]]}
    assert "no training loss is passed" in rows_of(final, *with_twins(**given))["B4c", "equal_loss"]["reason"]


def test_twins_are_for_cross_entropy_that_is_more_than_rounding() -> None:
    of = networks()
    squared = {"networks": of.assign(loss="squared_error"), "curvature": curvature(of, lambda loss: loss)}
    reasons = [rows_of(squared, *with_twins())["B4c", twin]["reason"] for twin in ("over_loss", "equal_loss")]
    assert reasons == ["losses are divided out of cross-entropy alone"] * 2
    rounded = {"networks": of.assign(train_loss=1e-7), "curvature": curvature(of, lambda loss: loss)}
    assert "at the rounding of float32" in rows_of(rounded, *with_twins())["B4c", "over_loss"]["reason"]


def test_twins_are_tested_only_where_their_claim_has_a_verdict() -> None:
    of = networks()
    table = curvature(of, lambda loss: 1.0)  # no width at all, but one when the loss is divided out
    found = rows_of({"networks": of, "curvature": table}, *with_twins())
    assert found["B4c", None]["direction"] == "inconclusive"
    twin = found["B4c", "over_loss"]
    assert (twin["direction"], twin["alone"]) == ("inconclusive", "contradicted")
    assert twin["reason"] == "tested only where B4c has a verdict"


# All claims together


def test_what_holds_only_alone_is_said_to() -> None:
    """One weak effect is found by itself, and not among twenty that nothing is behind."""
    table = networks(seeds=5, power=0, scatter=0.1)
    table["relative_movement"] *= np.where(table["width"] == 512, 0.9, 1.0)
    weak = claim(id="A1a", expect={"above": 1})
    (alone,) = judge([weak], {"networks": table})
    assert (alone["direction"], alone["alone"]) == ("reproduced", None)
    assert alone["p"] == alone["p_corrected"]
    mean = table.loc[table["width"] == 32, "test_accuracy"].astype(float).mean()
    nothing = {"measure": {"kind": "mean"}, "expect": {"above": mean}, "baseline": 0, "where": {"width": [32]}}
    others = [claim(id=f"A{number}", quantity="test_accuracy", **nothing) for number in range(2, 22)]
    among = judge([weak, *others], {"networks": table})[0]
    assert (among["direction"], among["alone"]) == ("inconclusive", "reproduced")
    assert among["p"] == alone["p"]
    assert among["p_corrected"] == pytest.approx(21 * alone["p"])


def test_families_share_the_level() -> None:
    tables = {"networks": networks()}
    alone = judge([claim()], tables)[0]["p_corrected"]
    other = claim(id="B1", quantity="test_accuracy", measure={"kind": "mean"}, baseline=0, expect={"above": 0.5})
    both = judge([claim(), other], tables)
    assert both[0]["p_corrected"] == pytest.approx(2 * alone)
