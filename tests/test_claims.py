"""Published claims: verdicts follow from the tables, and from nothing else."""

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from invented_claims import SETUP, claim, connections, networks
from running import ROOT

from isthmus.claims import operands, parse_claims, read_claims
from isthmus.errors import ConfigurationError
from isthmus.pair_statistics import summarize_pairs
from isthmus.power_law import power_law
from isthmus.schema import study_schema
from isthmus.stages import SCHEMAS, stages
from isthmus.statistics import bootstrap_interval
from isthmus.study import SECTIONS
from isthmus.verdicts import judge, verdict


def judged(tables: dict[str, pd.DataFrame], **given: Any) -> dict[str, Any]:
    """The one row that a claim gives."""
    (row,) = judge([claim(**given)], tables)
    return row


@pytest.mark.parametrize(
    ("low", "high", "above", "below", "expected"),
    [
        (1.1, 2.0, 1.0, np.inf, "reproduced"),
        (0.9, 2.0, 1.0, np.inf, "inconclusive"),
        (0.5, 0.9, 1.0, np.inf, "contradicted"),
        (0.5, 0.9, -np.inf, 1.0, "reproduced"),
        (0.5, 3.5, 1.0, 3.0, "inconclusive"),
        (3.1, 3.5, 1.0, 3.0, "contradicted"),
        (1.1, 2.9, 1.0, 3.0, "reproduced"),
        (0.0, 0.0, 0.0, np.inf, "contradicted"),
        (np.nan, np.nan, 1.0, np.inf, "inconclusive"),
    ],
)
def test_a_verdict_is_where_the_whole_interval_lies(
    low: float, high: float, above: float, below: float, expected: str
) -> None:
    assert verdict(low, high, above, below) == expected


@pytest.mark.parametrize(
    ("power", "scatter", "expected"),
    [(-0.5, 0.02, "reproduced"), (0.5, 0.02, "contradicted"), (-0.01, 0.3, "inconclusive")],
)
def test_a_known_ratio_gets_its_value_its_interval_and_its_verdict(power: float, scatter: float, expected: str) -> None:
    table = networks(power=power, scatter=scatter)
    row = judged({"networks": table})
    log = np.log(table.pivot(index="seed", columns="width", values="relative_movement"))
    units = (log[32] - log[512]).to_numpy()
    assert row["value"] == pytest.approx(np.exp(units.mean()))
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.exp(bootstrap_interval(units))))
    assert (row["verdict"], row["networks"], row["comparison"]) == (expected, 8, "width 32 / 512")
    if scatter < 0.1:
        assert row["value"] == pytest.approx(16**-power, rel=0.05)


def test_a_slope_is_that_of_the_power_law() -> None:
    table = networks()
    row = judged({"networks": table}, measure={"kind": "slope", "by": "width"}, expect={"below": -0.1})
    law = power_law(table["width"], table["relative_movement"])
    assert (row["value"], row["low"], row["high"]) == pytest.approx((law.slope, law.low, law.high))
    assert row["value"] == pytest.approx(-0.5, abs=0.03)
    assert row["verdict"] == "reproduced"


def test_settings_may_differ_in_size_but_not_in_slope() -> None:
    row = judged({"networks": networks(depths=(1, 4))}, measure={"kind": "slope", "by": "width"}, expect={"below": 0})
    assert (row["settings"], row["networks"]) == (2, 24)
    assert row["value"] == pytest.approx(-0.5, abs=0.03)


def test_the_interval_of_pairs_resamples_networks() -> None:
    table = networks(widths=(32,), seeds=5)
    pairs = connections(table)
    given = {"table": "connections", "quantity": "barrier_test_error", "where": {"kind": "linear"}, "baseline": 0}
    row = judged({"networks": table, "connections": pairs}, measure={"kind": "mean"}, **given)
    summary = summarize_pairs(pairs[pairs["kind"] == "linear"], ["cell"], "barrier_test_error").iloc[0]
    assert [row[key] for key in ("value", "low", "high")] == pytest.approx([*summary[["mean", "low", "high"]]])
    assert row["networks"] == 5
    sides = {"kind": "difference", "of": {"kind": "bezier"}, "to": {"kind": "linear"}}
    row = judged({"networks": table, "connections": pairs}, **given | {"where": {}}, measure=sides, expect={"below": 0})
    assert (row["verdict"], row["comparison"]) == ("reproduced", "kind bezier - kind linear")


def test_steps_and_plateaus_look_at_every_value_of_the_axis() -> None:
    table = {"networks": networks(widths=(32, 64, 128), seeds=6)}
    given = {"quantity": "test_accuracy"}
    rise = judged(table, **given, measure={"kind": "smallest_step", "by": "width"}, expect={"above": 0})
    assert rise["value"] == pytest.approx(0.01, abs=0.003)
    assert rise["verdict"] == "reproduced"
    level = judged(
        table,
        **given,
        measure={"kind": "plateau", "by": "width", "tolerance": 0.015},
        expect={"below": 1},
        published=0.5,
    )
    assert (level["value"], level["comparison"], level["verdict"]) == (0.5, "width 64 of 128", "reproduced")
    never = judged(
        table,
        **given,
        measure={"kind": "plateau", "by": "width", "tolerance": 0.002},
        expect={"below": 1},
        published=0.5,
    )
    assert (never["value"], never["verdict"]) == (1.0, "contradicted")


def test_published_numbers_are_compared_in_the_published_setup_only() -> None:
    near = {"near": 4.0, "tolerance": 0.5}
    there = networks("mnist", "MNIST")
    row = judged({"networks": there}, setup=SETUP, expect=near)
    assert (row["as_published"], row["verdict"]) == (True, "reproduced")
    assert (row["expected_above"], row["expected_below"]) == (3.5, 4.5)
    row = judged({"networks": networks()}, setup=SETUP, expect=near)
    assert (row["verdict"], row["study"]) == ("not measured", None)
    assert row["reason"] == "the published setup has dataset MNIST"
    row = judged({"networks": networks("mnist", "MNIST", widths=(32, 128))}, setup=SETUP, expect=near)
    assert row["reason"] == "the published setup has width 512"
    rows = judge([claim(setup=SETUP)], {"networks": pd.concat([there, networks()])})
    assert [(row["study"], row["as_published"], row["verdict"]) for row in rows] == [
        ("digits", False, "reproduced"),
        ("mnist", True, "reproduced"),
    ]


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
        ({"requires": {"depth": 2}}, "2 values of depth are needed, there is 1"),
        ({"quantity": "weight_decay"}, "`weight_decay` was not measured"),
    ],
)
def test_what_cannot_be_tested_says_why(given: dict[str, Any], reason: str) -> None:
    row = judged({"networks": networks()}, **given)
    assert (row["verdict"], row["value"], row["reason"]) == ("not measured", None, reason)


def test_one_network_gives_no_interval_and_no_verdict() -> None:
    row = judged({"networks": networks(seeds=1)})
    assert (row["low"], row["verdict"]) == (None, "inconclusive")
    assert row["reason"] == "too few networks for an interval"


def test_diverged_networks_are_left_out_and_counted() -> None:
    row = judged({"networks": networks(diverged=[(32, 1)])})
    assert (row["networks"], row["excluded"], row["verdict"]) == (6, 1, "reproduced")
    there = judged({"networks": networks("mnist", "MNIST", diverged=[(32, 1)])}, setup=SETUP | {"epochs": 30})
    assert (there["as_published"], there["networks"], there["excluded"]) == (True, 6, 1)
    lost = judged({"networks": networks(diverged=[(32, seed) for seed in range(4)])})
    assert lost["reason"] == "2 values of width are needed, there is 1"


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
        assert set(operands(each.quantity)[0]) <= tables[each.table], each.id
        assert each.columns() <= tables[each.table] | tables["networks"] | axes, each.id


def test_a_claim_needs_a_source_a_known_key_and_a_border() -> None:
    good = read_claims()["claims"][0]
    for change, message in (
        ({"sauce": "x"}, "A1a.sauce: unknown key (did you mean `source`?)"),
        ({"expect": {}}, "A1a.expect: {} was given"),
        ({"source": "nobody"}, "A1a.source: 'nobody' is none of the sources: somebody"),
        ({"published": None}, "A1a.reference: needed where no number is published"),
        ({"expect": {"near": 3}}, "A1a.expect: `near` and `tolerance` go together"),
        ({"measure": {"kind": "slope"}}, "A1a.measure: a slope goes along the axis `by`"),
    ):
        with pytest.raises(ConfigurationError) as raised:
            parse_claims({"sources": {"somebody": "x"}, "claims": [good | {"source": "somebody"} | change]})
        assert message in str(raised.value)
    with pytest.raises(ConfigurationError, match="A1a: there are several claims of this id"):
        parse_claims({"sources": {"johannsen2026": "x"}, "claims": [good, good]})


def test_the_example_of_the_page_is_a_claim() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "claims.md").read_text(), re.DOTALL)
    content = read_claims() | {"claims": yaml.safe_load(example)}
    (row,) = judge(parse_claims(content), {"networks": networks(depths=(1, 4), power=0)})
    assert (row["comparison"], row["verdict"]) == ("depth 4 / 1", "contradicted")
    assert row["value"] == pytest.approx(4, rel=0.02)


def test_testing_claims_does_not_import_torch() -> None:
    code = "import sys, isthmus.verdicts, isthmus.figures.claims; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SCHEMAS.parent / "scripts")}).returncode
        == 0
    )
