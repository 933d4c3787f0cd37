"""Sentences say what the table proves, and nothing else; when the table changes, so do they."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from isthmus.overview.sentences import answers, count_sentence, directions, effect_sentence, leading_quantities
from isthmus.tables.quantities import compared, named

EVERY = [quantity.name for quantity in compared()]
UNCHANGED: dict[str, Any] = {"study": "s", "selection": "all", "opposite": None, "networks": 12, "cells": 4}


def effect(quantity: str, *numbers: float | None, term: str = "width", scale: str = "log", **given: Any) -> pd.Series:
    """A row of `effects`: its coefficient and the ends of its interval."""
    named = dict(zip(("coefficient", "low", "high"), numbers, strict=True))
    own = {"quantity": quantity, "term": term, "step": "doubling", "scale": scale}
    return pd.Series(UNCHANGED | {"smallest": None, "largest": None} | own | named | given)


def table(*rows: pd.Series) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(effect("test_error", 0, 0, 0).index))


def trained(**axes: list[int]) -> pd.DataFrame:
    """The table `networks`, with a network in each cell."""
    given = {"width": [8, 16], "depth": [1, 1], "batch_size": [32, 32]} | axes
    count = len(given["width"])
    return pd.DataFrame({"study": "s", "cell": [str(n) for n in range(count)], "diverged": [False] * count} | given)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            effect("test_error", np.log2(0.8), np.log2(0.75), np.log2(0.85)),
            "Doubling the width lowers the test error by 20 % of its value (95 % interval: 15 % to 25 %; 12 networks "
            "in 4 cells).",
        ),
        (
            effect("test_error", np.log2(1.25), np.log2(1.2), np.log2(1.3)),
            "Doubling the width raises the test error by 25 % of its value (95 % interval: 20 % to 30 %; 12 networks "
            "in 4 cells).",
        ),
        (
            effect("top_eigenvalue", -2.0, -3.0, -1.0, term="batch_size"),
            "Doubling the batch size divides the top eigenvalue by 4 (95 % interval: 2 to 8; 12 networks in 4 cells).",
        ),
        (
            effect("top_eigenvalue", 2.0, 1.0, 3.0, term="depth"),
            "Doubling the depth multiplies the top eigenvalue by 4 (95 % interval: 2 to 8; 12 networks in 4 cells).",
        ),
        (
            effect("generalization_gap", -0.0123, -0.02, -0.004, scale="linear"),
            "Doubling the width lowers the generalization gap by 0.012 (95 % interval: 0.004 to 0.02; 12 networks in 4 "
            "cells).",
        ),
        (
            effect("linear_barrier", 0.5, -0.1, 1.1, scale="linear"),
            "These networks do not show whether doubling the width raises or lowers the barrier (linear): the estimate "
            "is a change of +0.5 (95 % interval: −0.1 to +1.1; 12 networks in 4 cells).",
        ),
        (
            effect("test_error", np.log2(0.97), np.log2(0.9), np.log2(1.05)),
            "These networks do not show whether doubling the width raises or lowers the test error: the estimate is a "
            "change of −3 % of its value (95 % interval: −10 % to +5 %; 12 networks in 4 cells).",
        ),
        (
            effect("test_error", 0.0, -2.0, 3.0),
            "These networks do not show whether doubling the width raises or lowers the test error: the estimate is a "
            "factor of 1 (95 % interval: 0.25 to 8; 12 networks in 4 cells).",
        ),
        (
            effect("test_error", 1.0, 0.5, 2.0, term="label_noise", step="range", smallest=0.0, largest=0.4),
            "Going from label noise 0 to 0.4 multiplies the test error by 2 (95 % interval: 1.4 to 4; 12 networks in 4 "
            "cells).",
        ),
        (
            effect("test_error", -0.4, None, None),
            "What doubling the width does to the test error cannot be determined: there is no interval, because cells "
            "have too few networks with a value or these do not differ (12 networks in 4 cells).",
        ),
    ],
    ids=[
        "lowers",
        "raises",
        "divides",
        "multiplies",
        "linear",
        "open",
        "open-percent",
        "open-factor",
        "range",
        "no-interval",
    ],
)
def test_a_row_becomes_its_sentence(row: pd.Series, sentence: str) -> None:
    assert effect_sentence(row) == sentence


def test_a_direction_is_stated_exactly_where_the_interval_excludes_no_effect() -> None:
    draw = np.random.default_rng(0)
    for quantity in EVERY:
        for scale in ("log", "linear"):
            centres = draw.normal(size=20) * 10.0 ** draw.uniform(-4, 1, 20)
            for centre, half in zip(centres, draw.exponential(size=20), strict=True):
                sentence = effect_sentence(effect(quantity, centre, centre - half, centre + half, scale=scale))
                stated = re.match(r"Doubling the width (raises|multiplies|lowers|divides) the ", sentence)
                assert (stated is not None) == (abs(centre) > half), sentence
                if stated:
                    assert (stated[1] in ("raises", "multiplies")) == (centre > 0)
                else:
                    assert sentence.startswith("These networks do not show whether")


def test_an_interval_that_touches_zero_states_no_direction() -> None:
    for low, high in ((0.0, 1.0), (-1.0, 0.0)):
        assert effect_sentence(effect("test_error", (low + high) / 2, low, high)).startswith(
            "These networks do not show"
        )


def test_a_changed_table_changes_the_sentence() -> None:
    networks = trained()
    before = table(effect("test_error", -0.2, -0.3, -0.1), effect("train_loss", 0.2, 0.1, 0.3))
    (first, *_), *_ = (answer.leading for answer in answers("s", before, networks))
    assert first.startswith("Doubling the width lowers the test error")
    after = before.assign(coefficient=-before["coefficient"], low=-before["high"], high=-before["low"])
    assert [sentence.split(" by ")[0] for sentence in answers("s", after, networks)[0].leading] == [
        "Doubling the width raises the test error",
        "Doubling the width lowers the training loss",
    ]
    wider = before.assign(low=-1.0, high=1.0)
    assert all(each.startswith("These networks do not show") for each in answers("s", wider, networks)[0].leading)


def test_other_studies_selections_and_interactions_say_nothing() -> None:
    own = effect("test_error", -0.2, -0.3, -0.1)
    rises = own.to_dict() | {"coefficient": 0.2, "low": 0.1, "high": 0.3}
    elsewhere: list[dict[str, Any]] = [{"study": "t"}, {"selection": "interpolating"}, {"term": "width:depth"}]
    others = [pd.Series(rises | each) for each in elsewhere]
    assert answers("s", table(*others, own), trained()) == answers("s", table(own), trained())


def test_an_axis_that_does_not_vary_is_said_to_say_nothing() -> None:
    found = {answer.axis: answer.leading for answer in answers("s", table(), trained(width=[8, 8]))}
    assert found["width"] == [
        "All networks of this study have the same width, 8, so they say nothing about its effect."
    ]
    assert found["batch_size"][0].startswith("All networks of this study have the same batch size, 32,")


def test_an_axis_without_any_effect_is_said_to_be_unmeasured() -> None:
    (sentence,) = answers("s", table(), trained())[0].leading
    assert sentence.startswith("What doubling the width does was not measured")


def test_other_axes_have_answers_of_their_own() -> None:
    rows = [effect("test_error", -0.2, -0.3, -0.1, term=term) for term in ("width", "learning_rate", "width:depth")]
    found = {answer.axis: answer.leading for answer in answers("s", table(*rows), trained())}
    assert list(found) == ["width", "depth", "batch_size", "learning_rate"]
    assert found["learning_rate"][0].startswith("Doubling the learning rate lowers the test error")


def test_every_measured_quantity_has_its_sentence_once() -> None:
    effects = table(*(effect(name, -0.2, -0.3, -0.1) for name in EVERY))
    width = answers("s", effects, trained())[0]
    assert len(width.leading + width.others) == len(set(width.leading + width.others)) == len(EVERY)
    groups = {named(name).group for name in leading_quantities(EVERY)}
    assert groups == {quantity.group for quantity in compared()}


def test_width_and_depth_are_compared_only_where_both_directions_are_known() -> None:
    rows = [effect("test_error", 0, 0, 0, opposite="opposite"), effect("train_loss", 0, 0, 0, opposite="undecided")]
    rows += [effect("movement", 0, 0, 0, opposite="same"), effect("test_loss", 0, 0, 0)]
    assert directions("s", table(*rows)) == [
        "Width and depth act on the test error in opposite directions.",
        "Width and depth act on the movement in the same direction.",
    ]


def test_networks_and_diverged_ones_are_counted() -> None:
    networks = trained()
    assert count_sentence("s", networks) == "The study trained 2 networks in 2 cells. None of them diverged."
    networks["diverged"] = [True, False]
    assert count_sentence("s", networks).endswith("One of them diverged and is left out of what follows.")
    networks["diverged"], networks["cell"] = True, "one"
    expected = "The study trained 2 networks in 1 cell. 2 of them diverged and are left out of what follows."
    assert count_sentence("s", networks) == expected
