"""Fitted curves: gradients, resumption, neighbours, and losses that agree with training's and the line's."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as File
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import recipe
from rounding import summation_error
from torch import Tensor, nn

from isthmus.core import seeds
from isthmus.core.devices import Settings
from isthmus.core.errors import Interrupted
from isthmus.data.dataset import Dataset
from isthmus.data.examples import Examples, pair_labels, place_examples
from isthmus.landscape.at_points import evaluate_path
from isthmus.landscape.curves import fit, fitted, new_curves
from isthmus.landscape.paths import Path, curve, line
from isthmus.models.networks import build
from isthmus.recipes.pairs import pair_number, pair_of
from isthmus.recipes.recipe import Recipe
from isthmus.training.checkpoint import State, load_state, save_state
from isthmus.training.trainer import new_state, train

CPU = Settings(torch.device("cpu"))
SEEDS = (0, 1, 2)
PAIRS = ((0, 1), (1, 2))


class Trained:
    """Three briefly trained networks of a recipe, and what it takes to connect them."""

    def __init__(self, chosen: Recipe, dataset: Dataset) -> None:
        self.recipe = chosen
        self.state = train(chosen, new_state(chosen, dataset, SEEDS), dataset, CPU, lambda state: None, lambda: None)
        self.examples: Examples = place_examples(chosen, dataset, SEEDS, CPU)
        self.shape = tuple(dataset.train_images.shape[1:])

    def network(self, stack: int) -> nn.Module:
        return build(self.recipe.network, self.shape, 10, stack)  # type: ignore[arg-type]

    def ends(self, pairs: tuple[tuple[int, int], ...]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        final = {seed: self.state.snapshots[seed]["final"] for seed in SEEDS}
        start, end = (
            {name: torch.stack([final[pair[side]][name] for pair in pairs]) for name in final[0]} for side in (0, 1)
        )
        return start, end

    def labels(self, pairs: tuple[tuple[int, int], ...] = PAIRS) -> Tensor:
        return pair_labels(self.examples.labels, SEEDS, pairs)

    def fit(
        self,
        path: Path,
        pairs: tuple[tuple[int, int], ...] = PAIRS,
        save: Callable[[State], None] = lambda state: None,
        stop: Callable[[], int | None] = lambda: None,
        state: State | None = None,
        **changes: Any,
    ) -> State:
        training = replace(self.recipe.training, **changes)
        return fit(
            self.network(len(pairs)),
            path,
            state or new_curves(path, pairs),
            self.labels(pairs),
            self.examples,
            training,
            CPU,
            save,
            stop,
        )

    def evaluate(
        self, path: Path, t: np.ndarray, pairs: tuple[tuple[int, int], ...], stack: int
    ) -> dict[str, tuple[Tensor, Tensor]]:
        examples, training = self.examples, self.recipe.training
        sets = {
            "train": (examples.images, self.labels(pairs)[:, 0]),
            "test": (examples.test_images, examples.test_labels),
        }
        statistics = examples.images[examples.subset(training.statistics_size)][None]
        return evaluate_path(self.network(stack), path, t, sets, training.loss, statistics, CPU.evaluation_batch_size)


TRAINING = {"epochs": 4, "learning_rate": 0.1}


@pytest.fixture(scope="module")
def plain(digits: Dataset) -> Trained:
    return Trained(recipe(width=16, depth=2, batch_size=64, training=TRAINING), digits)


@pytest.fixture(scope="module")
def normalized(digits: Dataset) -> Trained:
    chosen = recipe(
        width=16,
        depth=2,
        batch_size=64,
        data={"label_noise": 0.1},
        network={"normalization": "batch"},
        training=TRAINING | {"statistics_size": 500},
    )
    return Trained(chosen, digits)


@pytest.fixture(params=["plain", "normalized"])
def trained(request: pytest.FixtureRequest) -> Trained:
    return request.getfixturevalue(request.param)


# Labels


def test_labels_come_in_one_set_where_the_ends_agree_and_in_two_where_they_do_not() -> None:
    labels = torch.tensor([[1, 2, 3], [1, 2, 3], [1, 0, 3]])
    assert torch.equal(pair_labels(labels, (4, 5, 7), ((4, 5),)), labels[None, :1])
    both = pair_labels(labels, (4, 5, 7), ((4, 5), (5, 7)))
    assert torch.equal(both, torch.stack([labels[[0, 1]], labels[[1, 2]]]))


# Losses along paths


def test_the_ends_of_a_path_have_the_very_losses_that_training_recorded(trained: Trained) -> None:
    path, results = line(*trained.ends(PAIRS)), trained.state.results
    for stack in (len(SEEDS), 1, 4):
        for member, pair in enumerate(PAIRS):
            found = trained.evaluate(path.member(member), np.linspace(0, 1, 5), pairs=(pair,), stack=stack)
            for name, (loss, accuracy) in found.items():
                assert loss.dtype == accuracy.dtype == torch.float64
                assert loss.shape == accuracy.shape == (5,)
                for place, seed in zip((0, -1), pair, strict=True):
                    assert loss[place].item() == pytest.approx(
                        results[seed][f"{name}_loss"], rel=summation_error(200), abs=0
                    )
                    assert accuracy[place].item() == results[seed][f"{name}_accuracy"]


@pytest.mark.parametrize("kind", ["bezier", "polychain"])
def test_a_curve_whose_bend_lies_on_the_line_has_exactly_the_lines_losses(trained: Trained, kind: str) -> None:
    start, end = trained.ends(PAIRS[:1])
    t = np.linspace(0, 1, 7)
    straight = trained.evaluate(line(start, end), t, PAIRS[:1], stack=3)
    bent = trained.evaluate(curve(kind, start, end), t, PAIRS[:1], stack=3)
    for name, (loss, accuracy) in straight.items():
        assert torch.equal(bent[name][0], loss)
        assert torch.equal(bent[name][1], accuracy)


def test_how_many_points_are_evaluated_at_once_changes_nothing_but_rounding(trained: Trained) -> None:
    path, t = line(*trained.ends(PAIRS[:1])), np.linspace(0, 1, 7)
    alone, together = (trained.evaluate(path, t, PAIRS[:1], stack) for stack in (1, 5))
    for name in alone:
        torch.testing.assert_close(alone[name], together[name], rtol=1e-4, atol=1e-6)


def test_between_ends_with_labels_of_their_own_the_loss_goes_from_one_set_to_the_other(normalized: Trained) -> None:
    both = normalized.labels(PAIRS[:1])
    assert both.shape[0] == 2, "with label noise drawn per seed"
    path, t = line(*normalized.ends(PAIRS[:1])), np.array([0.0, 0.25, 1.0])
    images = normalized.examples.images
    sets = {"both": (images, both[:, 0]), "first": (images, both[:1, 0]), "second": (images, both[1:, 0])}
    found = evaluate_path(normalized.network(3), path, t, sets, "cross_entropy", images[None], 2048)
    share = torch.from_numpy(t)
    for measure in (0, 1):
        expected = (1 - share) * found["first"][measure] + share * found["second"][measure]
        torch.testing.assert_close(found["both"][measure], expected)


# Fitting


@pytest.mark.parametrize("kind", ["bezier", "polychain"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_one_step_follows_the_gradient_by_the_bend(trained: Trained, kind: str, weight_decay: float) -> None:
    pair = PAIRS[:1]
    start, end = trained.ends(pair)
    torch.manual_seed(0)
    bend = {name: (value + end[name]) / 2 + 0.1 * torch.randn_like(value) for name, value in start.items()}
    path = curve(kind, start, end, bend)
    changes = {"steps": 1, "momentum": 0.0, "learning_rate": 0.5, "schedule": "constant", "weight_decay": weight_decay}
    state = trained.fit(path, pair, **changes)

    # The same written out: the point and the examples from the pair's stream, the curve by its control points.
    generator = seeds.generator(0, seeds.Stream.ORDER, 1, 0)
    images, labels = trained.examples.images, trained.examples.labels
    t = generator.random(-(-len(images) // 64))[0]
    chosen = torch.from_numpy(generator.permutation(len(images))[:64])
    shares = ((1 - t) ** 2, 2 * t * (1 - t), t**2) if kind == "bezier" else chain_shares(t)
    for value in bend.values():
        value.requires_grad_()
    point = {name: shares[0] * start[name] + shares[1] * bend[name] + shares[2] * end[name] for name in start}
    outputs = torch.func.functional_call(trained.network(1), point, (images[chosen][None],))[0]
    each = [F.cross_entropy(outputs, labels[end][chosen]) for end in (0, 1)]
    loss = (1 - t) * each[0] + t * each[1]
    penalty = weight_decay / 2 * sum(value.square().sum() for value in point.values())
    gradients = torch.autograd.grad(loss + penalty, tuple(bend.values()))

    offset = state.snapshots[pair_number(0, 1)]["offset"]
    for (name, before), gradient in zip(path.offset.items(), gradients, strict=True):
        torch.testing.assert_close(offset[name], before[0] - 0.5 * gradient[0], rtol=1e-4, atol=1e-6)
    assert state.history[0][0]["train_loss"] == pytest.approx(loss.item(), rel=1e-5)


def chain_shares(t: float) -> tuple[float, float, float]:
    return (1 - 2 * t, 2 * t, 0.0) if t < 0.5 else (0.0, 2 - 2 * t, 2 * t - 1)


@pytest.mark.parametrize("kind", ["bezier", "polychain"])
def test_fitting_lowers_the_losses_along_the_curve(trained: Trained, kind: str) -> None:
    path = curve(kind, *trained.ends(PAIRS))
    state = trained.fit(path, epochs=8, learning_rate=0.05)
    assert state.live == ()
    found, t = fitted(path, state), np.linspace(0, 1, 13)
    for member, number in enumerate(state.seeds):
        assert not state.results[number]["diverged"]
        before, after = (
            trained.evaluate(each.member(member), t, (pair_of(number),), stack=13) for each in (path, found)
        )
        for name in before:
            assert after[name][0].mean() < 0.8 * before[name][0].mean()
            assert after[name][0].max() < 0.8 * before[name][0].max()
            assert torch.equal(after[name][0][[0, -1]], before[name][0][[0, -1]]), "the ends are fixed"
        rows = state.history[number]
        assert [row["epoch"] for row in rows] == list(range(1, 9))
        assert rows[-1]["train_loss"] < rows[0]["train_loss"]


@pytest.mark.parametrize(("architecture", "normalization"), [("mlp", "none"), ("mlp", "batch"), ("cnn", "layer")])
def test_pairs_fitted_together_are_each_alone(digits: Dataset, architecture: str, normalization: str) -> None:
    chosen = recipe(
        width=4,
        depth=1,
        batch_size=64,
        data={"train_size": 256, "label_noise": 0.1},
        network={"architecture": architecture, "normalization": normalization, "blocks": 2, "hidden_units": 8},
        training={"epochs": 2, "learning_rate": 0.02, "flip": True, "crop_padding": 1},
    )
    trained = Trained(chosen, digits)
    together = trained.fit(curve("bezier", *trained.ends(PAIRS)))
    for pair in PAIRS:
        alone = trained.fit(curve("bezier", *trained.ends((pair,))), (pair,))
        number = pair_number(*pair)
        for name, value in alone.snapshots[number]["offset"].items():
            torch.testing.assert_close(together.snapshots[number]["offset"][name], value, rtol=1e-3, atol=1e-5)
        for ours, theirs in zip(together.history[number], alone.history[number], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_fit_interrupted_again_and_again_ends_bit_for_bit_like_an_undisturbed_one(
    normalized: Trained, tmp_path: File, optimizer: str
) -> None:
    changes = {"optimizer": optimizer, "learning_rate": 0.01, "steps": 70, "crop_padding": 1, "weight_decay": 1e-3}
    path = curve("polychain", *normalized.ends(PAIRS))
    whole = normalized.fit(path, **changes)
    file, randomness, tries = tmp_path / "state.safetensors", random.Random(0), 0
    while True:
        left = randomness.randint(1, 20)

        def stop() -> int | None:
            nonlocal left
            left -= 1
            return 15 if left == 0 else None

        try:
            broken = normalized.fit(
                path, save=lambda state: save_state(file, state, "x"), stop=stop, state=load_state(file, "x"), **changes
            )
            break
        except Interrupted:
            tries += 1
    assert tries > 3
    assert broken.history == whole.history
    for number in whole.seeds:
        assert broken.results[number]["steps"] == whole.results[number]["steps"] == 70
        for name, value in whole.snapshots[number]["offset"].items():
            assert torch.equal(broken.snapshots[number]["offset"][name], value)
    save_state(file, broken, "x")
    finished = load_state(file, "x")
    assert finished is not None
    assert normalized.fit(path, state=finished) is finished
    torch.testing.assert_close(fitted(path, finished).offset, fitted(path, whole).offset, rtol=0, atol=0)


def test_a_diverged_pair_is_a_result_and_leaves_its_neighbours_alone(plain: Trained) -> None:
    start, end = plain.ends(PAIRS)
    name = next(iter(start))
    start[name][1] *= 1e30  # Its losses are no numbers, whatever the bend.
    path = curve("bezier", start, end)
    state = plain.fit(path, epochs=2)
    alone = plain.fit(curve("bezier", *plain.ends(PAIRS[:1])), PAIRS[:1], epochs=2)
    good, bad = (pair_number(*pair) for pair in PAIRS)
    assert state.results[bad]["diverged"]
    assert state.history[bad][-1]["train_loss"] is None
    assert not state.results[good]["diverged"]
    for parameter, value in alone.snapshots[good]["offset"].items():
        torch.testing.assert_close(state.snapshots[good]["offset"][parameter], value, rtol=1e-3, atol=1e-5)


def test_a_rate_far_too_high_is_noticed_even_in_the_last_step(plain: Trained) -> None:
    path = curve("bezier", *plain.ends(PAIRS))
    state = plain.fit(path, steps=1, learning_rate=1e39, momentum=0.0, schedule="constant")
    assert all(row["diverged"] for row in state.results.values())


def test_points_and_order_are_drawn_per_pair_and_step_and_are_uniform(plain: Trained) -> None:
    drawn = [
        seeds.generator(first, seeds.Stream.ORDER, second, epoch).random(50)
        for first, second in ((0, 1), (0, 2), (1, 2))
        for epoch in range(4)
    ]
    assert len({tuple(each) for each in drawn}) == 12
    own = seeds.generator(0, seeds.Stream.ORDER, 1).random(50)
    assert not any(np.array_equal(own, each) for each in drawn), "the order of training is a stream of its own"


def test_a_line_has_no_bend_to_fit(plain: Trained) -> None:
    path = line(*plain.ends(PAIRS))
    with pytest.raises(ValueError, match="linear path has no bend"):
        plain.fit(path)
