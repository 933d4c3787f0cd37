"""Lottery tickets: at density 1 the dense network, zeros that stay zeros, controls that differ in one thing each."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CPU, recipe, trained

from isthmus.analyses.tickets.chain import Chain
from isthmus.analyses.tickets.levels import LevelFiles, absent
from isthmus.analyses.tickets.measure import Outcome, TicketMeasures, curvature, first_at, lowest
from isthmus.analyses.tickets.pruning import Found, Origin, Plan, rewound
from isthmus.core.errors import ConfigurationError, UserError
from isthmus.core.logs import StopRequest
from isthmus.core.tensors import Tensors
from isthmus.data.dataset import Dataset
from isthmus.landscape.evaluator import Evaluator
from isthmus.landscape.hessian.operator import CurvatureOperator, dense
from isthmus.landscape.sharpness import Restricted
from isthmus.landscape.stability import twin_barriers
from isthmus.models.evaluation import evaluation_mode
from isthmus.models.masks import Kept, free, magnitude_mask, masked, pools, prunable
from isthmus.models.networks import build
from isthmus.recipes.recipe import Recipe
from isthmus.study.config import load
from isthmus.training.checkpoint import State
from isthmus.training.starts import Start, begin
from isthmus.training.trainer import Member, TrainingRun, new_state, train

SGD = {"epochs": 2, "learning_rate": 0.05, "weight_decay": 1e-3}
FLAT = SGD | {"sharpness_radius": 0.05, "averaging": "ema", "averaging_start": 0.5}  # averages from step 5 of 10 on
ADAM = {"epochs": 2, "learning_rate": 0.003, "optimizer": "adamw", "weight_decay": 1e-2}
SMALL_CNN = {"architecture": "cnn", "normalization": "batch", "blocks": 2, "hidden_units": 8}


def options(**given: Any) -> dict[str, Any]:
    """Options of the analysis, as the configuration completes them."""
    grid = {"width": [8], "depth": [1], "batch_size": [64], "seed": 1}
    config = {"studies": {"test": {"grid": grid, "analyses": {"tickets": given}}}}
    return load(config).studies["test"].analyses["tickets"]


def chosen(training: dict[str, Any] = SGD, network: dict[str, Any] | None = None, **others: Any) -> Recipe:
    given = {"width": 8, "depth": 2, "batch_size": 64} | others
    return recipe(**given, data={"train_size": 320}, network=network or {}, training=training)


def chain_of(
    digits: Dataset,
    tmp_path: Path,
    cell: Recipe,
    asked: dict[str, Any],
    seeds: tuple[int, ...] = (0, 1),
    stack: int = 50,
) -> Chain:
    """The chain of a few networks, trained here and now."""
    seeds = (0, 1)
    state, step = trained(cell, digits, seeds), asked["rewind_step"]
    initial = {seed: state.snapshots[seed]["initial"] for seed in seeds}
    starts = {seed: Start(initial[seed], {}, 0) for seed in seeds}
    if step:
        paused = train(cell, new_state(cell, digits, seeds), digits, CPU, lambda _: None, lambda: None, pause_at=step)
        starts = rewound([paused], initial, step)
    plan, images = Plan(cell, digits.shape, digits.classes, asked), asked["curvature"]["images"]
    final = {seed: state.snapshots[seed]["final"] for seed in seeds}
    dense = {seed: Outcome(final[seed], state.results[seed], state.history[seed]) for seed in seeds}
    evaluator = Evaluator.of(cell, digits, seeds, CPU, stack=5, hessian_examples=images)
    return Chain(
        plan,
        TicketMeasures(plan, evaluator, digits, dense),
        {seed: Origin(initial[seed], starts[seed], final[seed]) for seed in seeds},
        LevelFiles(tmp_path, lambda seed: f"mark {seed}"),
        lambda networks: min(stack, networks),
        StopRequest(),
    )


@pytest.mark.parametrize("rewind_step", [0, 7])
@pytest.mark.parametrize(
    ("training", "network"),
    [(SGD, {}), (ADAM, {}), (SGD | {"flip": True}, SMALL_CNN), (FLAT, {})],
    ids=["sgd", "adamw", "cnn", "flat"],
)
def test_at_kept_fraction_one_the_ticket_is_the_dense_network_bit_for_bit(
    digits: Dataset, tmp_path: Path, training: dict[str, Any], network: dict[str, Any], rewind_step: int
) -> None:
    asked = options(kept_fractions=[1.0], rewind_step=rewind_step, controls=["random"], stability=False)
    chain = chain_of(digits, tmp_path, chosen(training, network), asked)
    chain.advance(0)
    reached = chain.advance(1)
    for seed, level in reached.items():
        assert level.found is not None
        assert level.found.weights is not None
        for name, value in chain.origins[seed].dense.items():
            assert torch.equal(level.found.weights[name], value), name
        ticket = next(row for row in level.tickets if row["kind"] == "ticket")
        assert ticket["test_loss"] == chain.measures.dense[seed].result["test_loss"]
        assert ticket["density"] == 1


@pytest.mark.parametrize("training", [SGD | {"nesterov": True}, ADAM], ids=["sgd", "adamw"])
@pytest.mark.parametrize("network", [{}, SMALL_CNN], ids=["mlp", "cnn"])
def test_a_pruned_weight_its_gradient_and_its_momentum_are_exactly_zero_after_training(
    digits: Dataset, training: dict[str, Any], network: dict[str, Any]
) -> None:
    cell = chosen(training, network)
    state = new_state(cell, digits, (0, 1))
    names = prunable(build(cell.network, digits.shape, 10))
    masks = [
        magnitude_mask(state.snapshots[seed]["initial"], None, pools(names, "global", 1.0), Kept(0.3, 0.3))
        for seed in (0, 1)
    ]
    members = {seed: Member(seed, seed, masks[seed]) for seed in (0, 1)}
    run = TrainingRun(cell, state, digits, CPU, members)
    run.measure()
    for _ in range(run.total_steps):
        run.update()
    gradients = dict(zip(run.weights, run.gradients(torch.arange(64).repeat(2, 1)), strict=True))
    for seed in (0, 1):
        for name in names:
            pruned = ~masks[seed][name]
            assert pruned.any()
            for held in (run.weights, gradients, *(slot for key, slot in run.slots.items() if key != "step")):
                assert held[name][seed][pruned].abs().max() == 0
                assert held[name][seed][~pruned].abs().max() > 0


def test_a_network_without_a_unit_learns_what_a_smaller_network_learns(digits: Dataset) -> None:
    """With all weights into and out of five of eight units pruned, the other three are a network of width three."""
    large, small = chosen(width=8, depth=1), chosen(width=3, depth=1)
    first = new_state(large, digits, (0,)).snapshots[0]["initial"]
    mask = {name: torch.ones_like(first[name], dtype=torch.bool) for name in ("1.weight", "3.weight")}
    mask["1.weight"][3:], mask["3.weight"][:, 3:] = False, False
    state = new_state(large, digits, (0,))
    done = train(large, state, digits, CPU, lambda _: None, lambda: None, {0: Member(0, 0, mask)})
    cut = {"1.weight": first["1.weight"][:3], "1.bias": first["1.bias"][:3]}
    cut |= {"3.weight": first["3.weight"][:, :3], "3.bias": first["3.bias"]}
    other = State((0,), (0,), 0, {name: value[None].clone() for name, value in cut.items()})
    other.snapshots, other.history = {0: {"initial": cut}}, {0: []}
    smaller = train(small, other, digits, CPU, lambda _: None, lambda: None)
    weights, expected = done.snapshots[0]["final"], smaller.snapshots[0]["final"]
    torch.testing.assert_close(weights["1.weight"][:3], expected["1.weight"], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(weights["3.weight"][:, :3], expected["3.weight"], rtol=1e-3, atol=1e-5)
    assert done.results[0]["test_loss"] == pytest.approx(smaller.results[0]["test_loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("architecture", "depth"), [("mlp", 2), ("cnn", 1), ("resnet", 8)], ids=["mlp", "cnn", "resnet"]
)
def test_controls_differ_from_the_ticket_in_one_thing_each(digits: Dataset, architecture: str, depth: int) -> None:
    network = {"architecture": architecture, "blocks": 2, "hidden_units": 8}
    cell = chosen(network=network, width=4, depth=depth)
    plan = Plan(cell, digits.shape, 10, options(kept_fractions=[0.5, 0.25]))
    initial = new_state(cell, digits, (3,)).snapshots[3]["initial"]
    generator = torch.Generator().manual_seed(0)
    dense_end, end = (
        {name: torch.randn(value.shape, generator=generator) for name, value in initial.items()} for _ in range(2)
    )
    origin, start = Origin(initial, Start(initial, {}, 0), dense_end), Start(initial, {}, 0)
    first = {entry.kind: entry for entry in plan.entries(3, 1, origin, Found(plan.whole(initial), dense_end))}
    second = {entry.kind: entry for entry in plan.entries(3, 2, origin, Found(first["ticket"].mask, end))}
    total = sum(plan.sizes.values())
    for kind, entry in second.items():
        assert sum(int(part.sum()) for part in entry.mask.values()) == int(0.25 * total + 0.5)
        assert (entry.member.noise_seed == 3) == (kind != "twin")
        if kind != "reinitialized":
            assert entry.start == start
    for name in plan.sizes:
        assert torch.equal(first["one_shot"].mask[name], first["ticket"].mask[name])  # once is once
        assert second["random"].mask[name].sum() == second["ticket"].mask[name].sum()
        for kind in ("reinitialized", "twin"):
            assert torch.equal(second[kind].mask[name], second["ticket"].mask[name])
        assert not torch.equal(second["reinitialized"].start.weights[name], initial[name])
    assert any(not torch.equal(second["one_shot"].mask[name], second["ticket"].mask[name]) for name in plan.sizes)
    assert any(not torch.equal(second["random"].mask[name], second["ticket"].mask[name]) for name in plan.sizes)
    small = torch.cat([initial[name][~second["magnitude_at_initialization"].mask[name]] for name in plan.sizes])
    large = torch.cat([initial[name][second["magnitude_at_initialization"].mask[name]] for name in plan.sizes])
    assert small.abs().max() <= large.abs().min()
    again = {entry.kind: entry for entry in plan.entries(3, 2, origin, Found(first["ticket"].mask, end))}
    assert all(torch.equal(again["random"].mask[name], second["random"].mask[name]) for name in plan.sizes)


def test_levels_do_not_depend_on_who_trains_together(digits: Dataset, tmp_path: Path) -> None:
    kept = ["random", "reinitialized"]
    asked = options(kept_fractions=[0.3, 0.1], curvature={"kinds": []}, line_points=5, kept_controls=kept)
    reached = []
    for stack in (1, 50):
        chain = chain_of(digits, tmp_path / str(stack), chosen(), asked, stack=stack)
        reached.append([chain.advance(level) for level in range(3)])
    for one, other in zip(*reached, strict=True):
        for seed in (0, 1):
            for row, same in zip(one[seed].tickets, other[seed].tickets, strict=True):
                assert row["test_loss"] == pytest.approx(same["test_loss"], rel=2e-3), (row, same)
                assert (row["kept"], row["kind"]) == (same["kept"], same["kind"])
    for level in reached[0][2].values():  # as it was written and read back
        assert list(level.controls) == kept
        for control in level.controls.values():
            assert control.weights is not None
            for name, mask in control.mask.items():
                assert ((control.weights[name] != 0) == mask).all()


def test_where_the_ticket_diverged_only_what_needs_no_ticket_goes_on(digits: Dataset) -> None:
    cell = chosen()
    plan = Plan(cell, digits.shape, 10, options(kept_fractions=[0.5, 0.25]))
    initial = new_state(cell, digits, (0,)).snapshots[0]["initial"]
    origin = Origin(initial, Start(initial, {}, 0), initial)
    left = {entry.kind for entry in plan.entries(0, 2, origin, Found(plan.whole(initial), None))}
    assert left == {"one_shot", "magnitude_at_initialization"}
    assert {entry.kind for entry in plan.entries(0, 2, origin, None)} == left
    lost = absent(plan, 2)
    assert all(row["diverged"] for row in lost.tickets)
    assert len(lost.layers) == len(lost.tickets) * len(plan.sizes) == 5 * 3


def test_networks_that_start_at_different_steps_are_no_stack(digits: Dataset) -> None:
    cell = chosen()
    plan = Plan(cell, digits.shape, 10, options(kept_fractions=[0.5]))
    initial = new_state(cell, digits, (0,)).snapshots[0]["initial"]
    origin = Origin(initial, Start(initial, {}, 7), initial)
    with pytest.raises(ValueError, match="same step"):
        begin({each.number: each.start for each in plan.entries(0, 1, origin, Found(plan.whole(initial), initial))})


def test_a_network_that_stopped_before_the_rewind_step_is_named(digits: Dataset) -> None:
    cell = chosen(SGD | {"until_train_accuracy": 0.01})
    state = train(cell, new_state(cell, digits, (0,)), digits, CPU, lambda _: None, lambda: None, pause_at=7)
    with pytest.raises(UserError, match="network 0 stopped at step 0, before rewind_step 7"):
        rewound([state], {0: state.snapshots[0]["initial"]}, 7)


def test_early_stopping_is_read_off_the_history() -> None:
    history = [{"step": step, "test_loss": loss} for step, loss in ((0, 2.3), (10, 0.5), (20, 0.4), (30, 0.4))]
    assert lowest(history) == (20, 0.4)
    assert first_at(history, 0.45) == 20
    assert first_at(history, 0.39) is None
    assert first_at([{"step": 0, "test_loss": None}], 1.0) is None
    assert lowest([{"step": 0, "test_loss": None}]) == (None, None)


def evaluator_of(digits: Dataset, cell: Recipe) -> Evaluator:
    return Evaluator.of(cell, digits, (0,), CPU, stack=5, hessian_examples=60)


def test_a_network_is_stable_against_itself_and_the_barrier_is_that_of_the_middle(digits: Dataset) -> None:
    cell = chosen(network=SMALL_CNN)
    state = trained(cell, digits, (0, 1))
    evaluator = evaluator_of(digits, cell)
    one, other = (state.snapshots[seed]["final"] for seed in (0, 1))
    assert set(twin_barriers(evaluator, 3, 0, one, one, "barrier").values()) == {0.0}
    found = twin_barriers(evaluator, 3, 0, one, other, "barrier")
    losses = []
    for share in (0.0, 0.5, 1.0):
        weights = {name: torch.lerp(value, other[name], share)[None] for name, value in one.items()}
        with evaluation_mode(evaluator.single, evaluator.statistics_images, weights), torch.no_grad():
            outputs = torch.func.functional_call(evaluator.single, weights, (evaluator.examples.test_images[None],))[0]
        losses.append(torch.nn.functional.cross_entropy(outputs, digits.test_labels).item())
    assert found["barrier_test_loss"] == pytest.approx(max(losses[1] - (losses[0] + losses[2]) / 2, 0), abs=1e-5)


def test_curvature_is_that_of_the_rows_and_columns_that_are_kept(digits: Dataset) -> None:
    """Against the eigenvalues of the block of the dense Hessian, in double precision."""
    cell = chosen({"epochs": 1}, width=4, depth=1)
    network = build(cell.network, digits.shape, 10).double()
    network.initialize([0])
    weights: Tensors = {name: value.detach()[0] for name, value in network.named_parameters()}
    mask = magnitude_mask(weights, None, pools(prunable(network), "global", 1.0), Kept(0.3, 0.3))
    kept = masked(weights, mask)
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.copy_(kept[name][None])
    evaluator, asked = evaluator_of(digits, cell), options()["curvature"]
    images, labels = (
        evaluator.examples.images[evaluator.hessian_indices],
        evaluator.labels(0)[evaluator.hessian_indices],
    )
    with evaluation_mode(network, evaluator.statistics_images):
        operator = CurvatureOperator(network, images, labels, "cross_entropy")
        places = free(weights, mask)
        block = dense(operator)[places][:, places]
        vectors = torch.randn(3, int(places.sum()), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(Restricted(operator, places)(vectors), vectors @ block)
    expected = torch.linalg.eigvalsh(block)
    scrambled = dict(sorted(kept.items(), key=lambda item: item[0][::-1]))  # files do not keep the order of layers
    found = curvature(evaluator, asked, 0, (1, 0), scrambled, mask)
    assert found["top_eigenvalue"] == pytest.approx(float(expected[-1]), rel=0.01)
    assert found["curvature_loss"] == pytest.approx(float(operator.loss), rel=1e-5)
    row = curvature(evaluator, asked | {"trace_precision": 0.03}, 0, (1, 0), kept, mask)
    assert row["trace"] == pytest.approx(float(expected.sum()), abs=4 * row["trace_error"] + 1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kept_fractions": [0.5, 0.0]}, "kept_fractions[1]: 0.0 was given; allowed is a number above 0, at most 1"),
        ({"kept_fractions": [1.2]}, "kept_fractions[0]: 1.2 was given; allowed is a number above 0, at most 1"),
        ({"kept_fractions": []}, "kept_fractions: [] was given"),
        ({"fraction": 1}, "fraction: 1 was given; allowed is a number above 0 below 1"),
        ({"controls": ["random"], "kept_controls": ["one_shot"]}, 'one_shot was given; controls has ["random"]'),
        ({"rewind_step": 1380}, "rewind_step: 1380 was given; at batch size 64 the run has 1380 steps"),
        ({"controls": ["snip"]}, "controls[0]"),
        ({"prune": 1}, "unknown key"),
    ],
)
def test_mistakes_are_named_before_anything_runs(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        options(**given)
    assert message.replace(",", "") in str(caught.value).replace(",", "")
