"""Published claims: verdicts follow from the tables, and from nothing else."""

import re
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from invented_cells import keys_of, with_cells
from invented_claims import SETUP, claim, connections, frame, judge, networks
from running import ROOT
from scipy.stats import ttest_1samp, ttest_ind

from isthmus.analyses.claims import verdicts
from isthmus.analyses.claims.estimates import direction
from isthmus.analyses.claims.statements import literal, operands, parse_claims, read_claims
from isthmus.core.errors import ConfigurationError
from isthmus.statistics.contrasts import Estimate
from isthmus.statistics.pairs import network_values
from isthmus.study.grid import SECTIONS
from isthmus.study.schema import study_schema
from isthmus.tables.descriptions import stages


def judged(tables: dict[str, pd.DataFrame], **given: Any) -> dict[str, Any]:
    """The one row that a claim gives."""
    (row,) = judge([claim(**given)], tables)
    return row


@pytest.mark.parametrize(
    ("value", "above", "below", "expected"),
    [
        (2.0, 1.0, np.inf, "reproduced"),
        (1.1, 1.0, np.inf, "inconclusive"),
        (0.0, 1.0, np.inf, "contradicted"),
        (0.0, -np.inf, 1.0, "reproduced"),
        (2.0, 1.0, 3.0, "reproduced"),
        (2.9, 1.0, 3.0, "inconclusive"),
        (4.0, 1.0, 3.0, "contradicted"),
    ],
)
def test_a_verdict_is_where_the_whole_interval_lies(value: float, above: float, below: float, expected: str) -> None:
    inside, outside = direction(Estimate(value, 0.1, 10.0), above, below)
    low, high = Estimate(value, 0.1, 10.0).interval()
    assert (inside <= 0.025) == (low > above and high < below)
    assert (outside <= 0.025) == (high <= above or low >= below)
    told = {"reproduced": inside <= 0.025, "contradicted": outside <= 0.025}
    assert [word for word, said in told.items() if said] == ([] if expected == "inconclusive" else [expected])


@pytest.mark.parametrize(
    ("power", "scatter", "expected"),
    [(-0.5, 0.02, "reproduced"), (0.5, 0.02, "contradicted"), (-0.01, 0.3, "inconclusive")],
)
def test_a_known_ratio_gets_its_value_its_interval_and_its_verdict(power: float, scatter: float, expected: str) -> None:
    table = networks(power=power, scatter=scatter)
    row = judged({"networks": table})
    log = np.log(table.pivot(index="seed", columns="width", values="relative_movement"))
    welch = ttest_ind(log[32], log[512], equal_var=False)
    ends = welch.confidence_interval(0.95)
    assert row["value"] == pytest.approx(np.exp(log[32].mean() - log[512].mean()))
    assert (row["low"], row["high"]) == pytest.approx((np.exp(ends.low), np.exp(ends.high)))
    assert row["p"] == pytest.approx(welch.pvalue)
    assert (row["direction"], row["networks"], row["comparison"]) == (expected, 8, "width 32 / 512")
    if scatter < 0.1:
        assert row["value"] == pytest.approx(16**-power, rel=0.05)


def test_a_slope_is_that_of_the_means_of_the_widths() -> None:
    table = networks()
    row = judged({"networks": table}, measure={"kind": "slope", "by": "width"}, expect={"below": -0.1})
    means = np.log(table["relative_movement"].astype(float)).groupby(table["width"]).mean()
    assert row["value"] == pytest.approx(np.polyfit(np.log(means.index), means, 1)[0])
    assert row["value"] == pytest.approx(-0.5, abs=0.03)
    assert row["direction"] == "reproduced"


def flat_by_rate_and_batch(batch_power: float, rate_power: float) -> dict[str, pd.DataFrame]:
    """Networks whose movement is a product of powers of batch size and learning rate, on a grid of both."""
    random, rows = np.random.default_rng(0), []
    rates = [{"learning_rate": rate} for rate in (0.1, 0.2, 0.4)]
    for batch, extra, seed in product((32, 64, 128), rates, range(4)):
        value = batch**batch_power * extra["learning_rate"] ** rate_power * np.exp(random.normal(0, 0.01))
        known = keys_of("digits", 16, 1, batch, extra) | extra | {"seed": seed, "diverged": False}
        rows.append(known | {"relative_movement": value, "train_accuracy": 1.0, "train_loss": 0.01, "epochs": 30.0})
    return with_cells({"networks": frame("networks", rows)}, rates)


@pytest.mark.parametrize(
    ("by", "held", "expected", "settings"),
    [
        ("learning_rate", None, -1.5, 3),
        ("batch_size", ["learning_rate"], 1.2, 3),
        ("batch_size", ["learning_rate / batch_size"], 1.2 - 1.5, 3),
    ],
    ids=["rates at one batch size", "batch sizes at one rate", "their quotient held"],
)
def test_what_is_held_is_the_same_among_the_networks_compared(
    by: str, held: list[str] | None, expected: float, settings: int
) -> None:
    """With their quotient held, both vary together: quotients of a single batch size say nothing and are left out."""
    measure = {"kind": "slope", "by": by} | ({} if held is None else {"held": held})
    tables = flat_by_rate_and_batch(1.2, -1.5)
    (row,) = verdicts.judge([claim(measure=measure, expect={"below": 0})], tables)
    assert row["value"] == pytest.approx(expected, abs=0.05)
    assert row["settings"] == settings
    assert row["direction"] == ("reproduced" if expected < 0 else "contradicted")


def test_rates_that_change_with_the_batch_size_are_not_one_rate() -> None:
    tables = flat_by_rate_and_batch(1.2, -1.5)
    scaled = tables["networks"].query("learning_rate == 0.1")
    scaled = tables | {"networks": scaled.assign(learning_rate=0.1 * scaled["batch_size"] / 32)}
    measure = {"kind": "slope", "by": "batch_size", "held": ["learning_rate"]}
    (row,) = verdicts.judge([claim(measure=measure, expect={"above": 0})], scaled)
    assert row["direction"] == "not measured"
    unknown = tables | {"networks": tables["networks"].assign(learning_rate=None)}
    (row,) = verdicts.judge([claim(measure=measure, expect={"above": 0})], unknown)
    assert (row["direction"], row["reason"]) == ("not measured", "`learning_rate` is not known")


def test_a_linear_slope_is_the_change_per_doubling() -> None:
    given = {"quantity": "test_accuracy", "measure": {"kind": "slope", "by": "width", "scale": "linear"}}
    table = networks(seeds=8)
    row = judged({"networks": table}, **given, expect={"above": 0})
    means = table["test_accuracy"].astype(float).groupby(table["width"]).mean()
    assert row["value"] == pytest.approx(np.polyfit(np.log2(means.index), means, 1)[0])
    assert row["value"] == pytest.approx(0.01, abs=0.001)


def test_settings_may_differ_in_size_but_not_in_slope() -> None:
    row = judged({"networks": networks(depths=(1, 4))}, measure={"kind": "slope", "by": "width"}, expect={"below": 0})
    assert (row["settings_for"], row["settings_against"]) == (2, 0)
    assert (row["settings"], row["networks"]) == (2, 24)
    assert row["value"] == pytest.approx(-0.5, abs=0.03)


def test_the_interval_of_pairs_resamples_networks() -> None:
    table = networks(widths=(32,), seeds=5)
    pairs = connections(table)
    given = {"table": "connections", "quantity": "barrier_test_error", "where": {"kind": "linear"}, "baseline": 0}
    row = judged({"networks": table, "connections": pairs}, measure={"kind": "mean"}, **given)
    linear = pairs[pairs["kind"] == "linear"]
    values = network_values(linear["barrier_test_error"].to_numpy(float), linear[["seed_a", "seed_b"]].to_numpy(int))
    ends = ttest_1samp(values, 0).confidence_interval(0.95)
    assert [row[key] for key in ("value", "low", "high")] == pytest.approx([values.mean(), ends.low, ends.high])
    assert row["networks"] == 5
    sides = {"kind": "difference", "of": {"kind": "bezier"}, "to": {"kind": "linear"}}
    row = judged({"networks": table, "connections": pairs}, **given | {"where": {}}, measure=sides, expect={"below": 0})
    assert (row["direction"], row["comparison"]) == ("reproduced", "kind bezier - kind linear")


def test_steps_and_plateaus_look_at_every_value_of_the_axis() -> None:
    table = {"networks": networks(widths=(32, 64, 128), seeds=6)}
    given = {"quantity": "test_accuracy"}
    rise = judged(table, **given, measure={"kind": "smallest_step", "by": "width"}, expect={"above": 0})
    assert rise["value"] == pytest.approx(0.01, abs=0.003)
    assert rise["direction"] == "reproduced"
    level = judged(
        table,
        **given,
        measure={"kind": "plateau", "by": "width", "tolerance": 0.015},
        expect={"below": 1},
        published=0.5,
    )
    assert (level["value"], level["comparison"], level["direction"]) == (0.5, "width 64 of 128", "reproduced")
    never = judged(
        table,
        **given,
        measure={"kind": "plateau", "by": "width", "tolerance": 0.002},
        expect={"below": 1},
        published=0.5,
    )
    assert (never["value"], never["direction"]) == (1.0, "inconclusive")  # wider networks may have a plateau


def test_networks_of_the_published_setup_are_taken_where_there_are_any() -> None:
    there = networks("mnist", "MNIST")
    row = judged({"networks": networks()}, setup=SETUP, elsewhere=False)
    assert (row["direction"], row["study"]) == ("not measured", None)
    assert row["reason"] == "the published setup has dataset MNIST"
    row = judged({"networks": networks("mnist", "MNIST", widths=(32, 128))}, setup=SETUP, elsewhere=False)
    assert row["reason"] == "the published setup has width 512"
    rows = judge([claim(setup=SETUP)], {"networks": pd.concat([there, networks()])})
    assert [(row["study"], row["as_published"], row["direction"]) for row in rows] == [
        ("digits", False, "reproduced"),
        ("mnist", True, "reproduced"),
    ]


@pytest.mark.parametrize(
    ("published", "tolerance", "interval", "expected"),
    [
        (4.0, 0.5, None, "as published"),
        (11.3, 2.8, None, "smaller"),
        (2.0, 0.5, None, "larger"),
        (4.5, 0.5, None, "undecided"),
        (4.0, None, None, None),
        (11.3, 2.8, (3.0, 42.0), "undecided"),  # a published number that is hardly known contradicts nothing
        (11.3, 2.8, (11.0, 11.6), "smaller"),
    ],
)
def test_the_size_is_a_verdict_of_its_own(
    published: float, tolerance: float | None, interval: tuple[float, float] | None, expected: str | None
) -> None:
    given = {"published": published, "tolerance": tolerance, "published_interval": interval and list(interval)}
    row = judged({"networks": networks()}, **given)
    assert (row["direction"], row["size"]) == ("reproduced", expected)


def test_of_a_negative_effect_a_more_negative_one_is_larger() -> None:
    slope = {"measure": {"kind": "slope", "by": "width"}, "expect": {"below": 0}, "tolerance": 0.1}
    assert judged({"networks": networks()}, published=-0.2, **slope)["size"] == "larger"
    assert judged({"networks": networks()}, published=-0.9, **slope)["size"] == "smaller"


def test_a_number_without_a_setup_is_one_for_all_networks() -> None:
    assert judged({"networks": networks()}, expect={"above": 3.5, "below": 4.5})["as_published"]
    assert not judged({"networks": networks()}, published=None, reference=4)["as_published"]


def test_only_networks_of_the_published_setup_enter_there() -> None:
    row = judged({"networks": networks("mnist", "MNIST", depths=(1, 4))}, setup=SETUP)
    assert (row["as_published"], row["settings"], row["networks"]) == (True, 1, 8)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"table": "tickets"}, "no study makes the table `tickets`"),
        ({"quantity": "nothing"}, "there is no column `nothing`"),
        ({"where": {"label_noise": {"at_least": 0.5}}}, "no row with label_noise at least 0.5"),
        ({"requires": {"depth": 2}}, "2 values of depth are needed; where the claim's conditions hold, there is 1"),
        ({"quantity": "weight_decay"}, "`weight_decay` was not measured"),
    ],
)
def test_what_cannot_be_tested_says_why(given: dict[str, Any], reason: str) -> None:
    row = judged({"networks": networks()}, **given)
    assert (row["direction"], row["value"], row["reason"]) == ("not measured", None, reason)


def test_one_network_gives_no_interval_and_no_verdict() -> None:
    row = judged({"networks": networks(seeds=1)})
    assert (row["low"], row["direction"]) == (None, "inconclusive")
    assert row["reason"] == "too few networks for an interval"


def test_diverged_networks_are_left_out_and_counted() -> None:
    row = judged({"networks": networks(diverged=[(32, 1)])})
    assert (row["networks"], row["excluded"], row["direction"]) == (7, 1, "reproduced")
    there = judged({"networks": networks("mnist", "MNIST", diverged=[(32, 1)])}, setup=SETUP | {"epochs": 30})
    assert (there["as_published"], there["networks"], there["excluded"]) == (True, 7, 1)
    lost = judged({"networks": networks(diverged=[(32, seed) for seed in range(4)])})
    assert lost["reason"] == "2 values of width are needed; where the claim's conditions hold, there is 1"


def test_the_order_of_the_rows_does_not_matter() -> None:
    table = networks(depths=(1, 2))
    tables = {"networks": table, "connections": connections(table)}
    mixed = {name: each.sample(frac=1, random_state=3) for name, each in tables.items()}
    claims = parse_claims(read_claims())
    assert judge(claims, mixed) == judge(claims, tables)


def test_the_file_holds_every_claim_once_and_what_it_names_exists() -> None:
    claims = parse_claims(read_claims())
    numbered = {each.id.rstrip("abcdef") for each in claims}
    wanted = {f"{group}{number}" for group, most in (("A", 7), ("B", 8), ("C", 4)) for number in range(1, most + 1)}
    assert wanted <= numbered
    tables = {
        made.name: {column.name for column in made.columns} for stage in stages().values() for made in stage.tables
    }
    axes = {key for section in SECTIONS for key in study_schema()[section]["properties"]}
    for each in claims:
        of_cells = {"cell_train_accuracy", "cell_least_train_loss"}
        assert {name for name in operands(each.quantity)[0] if literal(name) is None} <= tables[each.table], each.id
        assert each.columns() <= tables[each.table] | tables["networks"] | axes | of_cells, each.id


def test_a_claim_needs_a_source_a_known_key_and_a_border() -> None:
    good = read_claims()["claims"][0]
    plateau = {"kind": "plateau", "by": "width", "tolerance": 0.1}
    for change, message in (
        ({"sauce": "x"}, "A1a.sauce: unknown key (did you mean `source`?)"),
        ({"expect": {}}, "A1a.expect: {} was given"),
        ({"source": "nobody"}, "A1a.source: 'nobody' is none of the sources: somebody"),
        ({"published": None}, "A1a.reference: needed where no number is published"),
        ({"published": None, "reference": 2}, "A1a.published: `tolerance` and `published_interval` belong to"),
        ({"measure": {"kind": "slope"}}, "A1a.measure: a slope goes along the axis `by`"),
        ({"measure": plateau}, "A1a.expect: a plateau is expected to begin `below`"),
        ({"measure": plateau, "published_interval": [1, 2]}, "A1a.published_interval: a plateau is not compared"),
        (
            {"measure": {"kind": "mean", "held": ["width"]}, "baseline": 0},
            "A1a.measure.held: this is for measures along",
        ),
        ({"measure": {"kind": "coefficient"}}, "A1a: the p-values of a coefficient are about the bound 0"),
        ({"measure": {"kind": "mean"}, "baseline": 0, "spans": {"depth": 2}}, "A1a.spans: this is for measures along"),
    ):
        with pytest.raises(ConfigurationError) as raised:
            parse_claims({"sources": {"somebody": "x"}, "claims": [good | {"source": "somebody"} | change]})
        assert message in str(raised.value)
    with pytest.raises(ConfigurationError, match="A1a: several claims have this id"):
        parse_claims({"sources": {"johannsen2026": "x"}, "claims": [good, good]})


def test_the_example_of_the_page_is_a_claim() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "claims.md").read_text(), re.DOTALL)
    content = read_claims() | {"claims": yaml.safe_load(example)}
    (row,) = judge(parse_claims(content), {"networks": networks(depths=(1, 4), power=0)})
    assert (row["comparison"], row["direction"]) == ("depth 4 / 1", "contradicted")
    assert row["value"] == pytest.approx(4, rel=0.02)
