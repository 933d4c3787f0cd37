"""Layer by layer: closed forms of tiny networks, networks made by hand one by one, and the whole line."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers import CPU, recipe
from torch import Tensor

from isthmus.analyses.layerwise.measure import layers_of, measure
from isthmus.data.dataset import Dataset
from isthmus.landscape.barriers import barrier
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.paths import line
from isthmus.models.evaluation import evaluate, evaluation_mode
from isthmus.models.networks import build
from isthmus.recipes.recipe import Recipe
from isthmus.tables.rows import Row

PAIR, POINTS = (0, 1), 5
T = np.linspace(0, 1, POINTS)


def weights_of(chosen: Recipe, dataset: Dataset, seed: int) -> dict[str, Tensor]:
    """The weights of a network of which all parameters, those of normalization too, differ from seed to seed."""
    network = build(chosen.network, dataset.shape, dataset.classes)
    network.initialize([seed])
    generator = torch.Generator().manual_seed(seed)
    return {
        name: value[0].detach() + 0.3 * torch.randn(value.shape[1:], generator=generator)
        for name, value in network.named_parameters()
    }


def measured(chosen: Recipe, dataset: Dataset, points: int = POINTS) -> tuple[Evaluator, list[Any], dict[Any, Row]]:
    """An evaluator, two networks, and the rows of their pair by what moves and its place."""
    evaluator = Evaluator.of(chosen, dataset, PAIR, CPU, stack=4)
    ends = [weights_of(chosen, dataset, seed) for seed in PAIR]
    rows = measure(evaluator, PAIR, *ends, points)
    return evaluator, ends, {(row["what"], row["layer_index"]): row for row in rows}


def test_two_scalar_layers_have_the_losses_of_their_products() -> None:
    """w x with w = 2 * 1/2 and w = 1/2 * 2 fits y = x; halfway in one layer alone, w is 5/8 or 5/2; in both, 25/16."""
    x = torch.linspace(0.5, 1.5, 7)[:, None]
    dataset = Dataset("line", 1, "", x, x, x, x, torch.zeros(1), torch.ones(1))
    chosen = recipe(1, 1, 7, training={"loss": "squared_error"})
    biases = {"1.bias": torch.zeros(1), "3.bias": torch.zeros(1)}
    first, second = (
        {"1.weight": torch.tensor([[a]]), "3.weight": torch.tensor([[b]])} | biases for a, b in ((2.0, 0.5), (0.5, 2.0))
    )
    rows = measure(Evaluator.of(chosen, dataset, PAIR, CPU, stack=3), PAIR, first, second, POINTS)
    found = {(row["what"], row["layer_index"]): row for row in rows}
    scale = float(x.square().mean())

    def loss(w: float) -> float:
        return (w - 1) ** 2 * scale

    alone = (loss(5 / 8) + loss(5 / 2)) / 2
    for what, index in (("alone", 1), ("alone", 2), ("all_but", 1), ("all_but", 2)):
        row = found[what, index]
        assert row["halfway_train_loss"] == pytest.approx(alone, rel=1e-6)
        assert row["replaced_test_loss"] == pytest.approx((loss(1 / 4) + loss(4)) / 2, rel=1e-6)
        assert row["barrier_train_loss"] == 0, "the loss of a linear network is convex in each of its layers"
        assert row["distance"] == pytest.approx(1.5)
        assert row["halfway_train_error"] is None, "real targets have no error"
    together = found["all", 0]
    assert together["halfway_train_loss"] == together["barrier_train_loss"] == pytest.approx(loss(25 / 16), rel=1e-6)
    assert together["replaced_train_loss"] == pytest.approx(0, abs=1e-12)
    assert together["distance"] == pytest.approx(1.5 * 2**0.5)


@pytest.mark.parametrize(
    ("architecture", "depth", "normalization"), [("mlp", 2, "none"), ("cnn", 1, "batch"), ("resnet", 8, "layer")]
)
def test_rows_are_those_of_networks_put_together_layer_by_layer(
    digits: Dataset, architecture: str, depth: int, normalization: str
) -> None:
    chosen = recipe(2, depth, 32, {"train_size": 60}, {"architecture": architecture, "normalization": normalization})
    evaluator, ends, rows = measured(chosen, digits)
    layers = layers_of(ends[0])
    assert set(rows) == {("all", 0)} | {
        (what, index + 1) for what in ("alone", "all_but") for index in range(len(layers))
    }
    for index in (0, len(layers) // 2, len(layers) - 1):
        for what in ("alone", "all_but"):
            name = list(layers)[index]
            row, moved = rows[what, index + 1], set(layers[name])
            if what == "all_but":
                moved = set(ends[0]) - moved
            values = np.array([[one_loss(evaluator, ends, moved, base, t) for t in T] for base in (0, 1)])
            networks = np.array([one_loss(evaluator, ends, set(), base, 0.0) for base in (0, 1)])
            assert row["layer"] == name
            assert row["parameters"] == sum(ends[0][each].numel() for each in moved)
            assert row["barrier_test_loss"] == pytest.approx(barrier(values, T).mean(), rel=1e-4, abs=1e-5)
            halfway = values[:, 2].mean() - networks.mean()
            assert row["halfway_test_loss"] == pytest.approx(halfway, rel=1e-4, abs=1e-5)
            replaced = (values[0, -1] - networks[0] + values[1, 0] - networks[1]) / 2
            assert row["replaced_test_loss"] == pytest.approx(replaced, rel=1e-4, abs=1e-5)


def one_loss(evaluator: Evaluator, ends: list[dict[str, Tensor]], moved: set[str], base: int, t: float) -> float:
    """The test loss of one network, whose parameters `moved` are between those of both, and all others of one."""
    weights = {
        name: ((1 - t) * ends[0][name] + t * ends[1][name] if name in moved else ends[base][name])[None]
        for name in ends[0]
    }
    network, images = evaluator.single, evaluator.test_images
    network.load_state_dict(weights)
    with evaluation_mode(network, evaluator.statistics_images):
        loss, _ = evaluate(network, images, evaluator.examples.test_labels[None], "cross_entropy", len(images))
    return float(loss)


def test_all_layers_together_are_the_straight_line_also_with_labels_of_their_own(digits: Dataset) -> None:
    chosen = recipe(4, 2, 32, {"train_size": 100, "label_noise": 0.4})
    evaluator, ends, rows = measured(chosen, digits)
    start, end = (evaluator.placed(each) for each in ends)
    labels = evaluator.pair_labels(PAIR)
    assert len(labels) == 2
    for name, (loss, accuracy) in evaluator.along(line(start, end), T, labels).items():
        for what, values in (("loss", loss.numpy()), ("error", 1 - accuracy.numpy())):
            row = rows["all", 0]
            assert row[f"barrier_{name}_{what}"] == pytest.approx(float(barrier(values, T)), abs=1e-9)
            assert row[f"halfway_{name}_{what}"] == pytest.approx(values[2] - (values[0] + values[-1]) / 2, abs=1e-9)


def test_the_middle_is_measured_where_the_grid_has_none(digits: Dataset) -> None:
    chosen = recipe(4, 1, 32, {"train_size": 60})
    even, odd = (measured(chosen, digits, points)[2] for points in (4, 5))
    for key, row in even.items():
        assert row["halfway_test_loss"] == pytest.approx(odd[key]["halfway_test_loss"], abs=1e-9)


def test_a_single_layer_leaves_no_others(digits: Dataset) -> None:
    assert list(layers_of(["weight", "bias"])) == ["root"]
    rows = measured(recipe(4, 1, 32, {"train_size": 60}), digits)[2]
    # With two layers, all but one is the other one alone.
    for index in (1, 2):
        other, mine = rows["all_but", 3 - index], rows["alone", index]
        assert {key: value for key, value in other.items() if key[:4] in ("barr", "half", "repl", "dist")} == {
            key: value for key, value in mine.items() if key[:4] in ("barr", "half", "repl", "dist")
        }
