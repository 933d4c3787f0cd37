"""Losses, accuracies, and batch-norm statistics that belong to the weights at hand."""

import pytest
import torch
import torch.nn.functional as F
from helpers import recipe
from rounding import summation_error
from torch import Tensor, nn

from isthmus.data.subsets import places
from isthmus.models.evaluation import evaluate, evaluation_mode, losses
from isthmus.models.networks import build
from isthmus.models.stacked import BatchNorm

SHAPE, CLASSES, STACK = (1, 8, 8), 5, 3


@pytest.fixture(autouse=True)
def _fixed_draws() -> None:
    torch.manual_seed(0)


def network_of(architecture: str = "mlp", normalization: str = "batch", stack: int = STACK) -> nn.Module:
    options = {"architecture": architecture, "normalization": normalization, "blocks": 2, "hidden_units": 6}
    network = build(recipe(6, 1, network=options).network, SHAPE, CLASSES, stack)
    network.initialize(range(stack))
    for module in network.modules():
        if isinstance(module, BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return network


def images_of(count: int) -> Tensor:
    return 1 + 2 * torch.randn(count, *SHAPE)


def labels_of(*shape: int) -> Tensor:
    return torch.randint(CLASSES, shape)


# Losses


def test_cross_entropy_is_that_of_torch() -> None:
    outputs, labels = torch.randn(STACK, 20, CLASSES, dtype=torch.float64), labels_of(STACK, 20)
    expected = torch.stack([F.cross_entropy(each, label) for each, label in zip(outputs, labels, strict=True)])
    torch.testing.assert_close(losses(outputs, labels, "cross_entropy"), expected)


def test_cross_entropy_of_equal_outputs_is_the_logarithm_of_the_number_of_classes() -> None:
    value = losses(torch.zeros(1, 4, CLASSES, dtype=torch.float64), labels_of(1, 4), "cross_entropy")
    torch.testing.assert_close(value, torch.tensor([float(CLASSES)], dtype=torch.float64).log())


def test_squared_error_is_that_of_torch_against_one_hot_targets() -> None:
    outputs, labels = torch.randn(STACK, 20, CLASSES, dtype=torch.float64), labels_of(STACK, 20)
    targets = F.one_hot(labels, CLASSES).double()
    expected = torch.stack([F.mse_loss(each, target) for each, target in zip(outputs, targets, strict=True)])
    torch.testing.assert_close(losses(outputs, labels, "squared_error"), expected)
    assert torch.equal(losses(targets, labels, "squared_error"), torch.zeros(STACK, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["cross_entropy", "squared_error"])
def test_shared_labels_are_the_labels_of_every_network(kind: str) -> None:
    outputs, labels = torch.randn(STACK, 20, CLASSES), labels_of(1, 20)
    assert torch.equal(losses(outputs, labels, kind), losses(outputs, labels.repeat(STACK, 1), kind))


# Evaluation


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("batch_size", [1, 7, 10, 50, 64])
def test_batches_make_no_difference(loss: str, batch_size: int) -> None:
    count, sets = 50, 2
    network, images, labels = network_of("cnn"), images_of(count), labels_of(sets, STACK, count)
    with evaluation_mode(network, images[None]):
        found_loss, found_accuracy = evaluate(network, images, labels, loss, batch_size)
        with torch.no_grad():
            outputs = network(images[None])
    assert found_loss.dtype == found_accuracy.dtype == torch.float64
    expected = torch.stack([losses(outputs.double(), each, loss) for each in labels])
    # A loss is a sum over the classes and one over the examples, each of positive terms, and a few operations more.
    torch.testing.assert_close(found_loss, expected, rtol=summation_error(count + CLASSES + 10), atol=0)
    accuracy = (outputs.argmax(-1) == labels).double().mean(-1)
    torch.testing.assert_close(found_accuracy, accuracy, rtol=0, atol=1e-15)


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
@pytest.mark.parametrize("evaluated", [slice(0, 12), slice(8, 30), slice(20, 50)], ids=["all known", "some", "none"])
def test_outputs_that_the_statistics_brought_are_not_computed_again(architecture: str, evaluated: slice) -> None:
    network, images, labels = network_of(architecture).double(), images_of(50).double(), labels_of(2, STACK, 50)
    chosen, statistics = torch.arange(50)[evaluated], torch.arange(0, 20)
    seen = places(chosen, statistics)
    computed = []

    def counted(batch: Tensor) -> Tensor:
        computed.append(batch.shape[1])
        return network(batch)

    with evaluation_mode(network, images[None, statistics]) as outputs:
        given = images[chosen], labels[:, :, chosen], "cross_entropy", 7
        expected = evaluate(network, *given)
        found = evaluate(counted, *given, outputs, seen)
    assert sum(computed) == len(set(chosen.tolist()) - set(statistics.tolist()))
    torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=0)
    assert torch.equal(found[1], expected[1])


def test_labels_shared_by_the_stack_are_scored_for_every_network() -> None:
    network, images, labels = network_of(normalization="none"), images_of(30), labels_of(1, 1, 30)
    with evaluation_mode(network, images[None]):
        shared = evaluate(network, images, labels, "cross_entropy", 8)
        own = evaluate(network, images, labels.expand(1, STACK, -1), "cross_entropy", 8)
    for found, expected in zip(shared, own, strict=True):
        assert found.shape == (1, STACK)
        assert torch.equal(found, expected)


def test_accuracy_is_the_fraction_of_right_answers() -> None:
    answers = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])

    def knowing(images: Tensor) -> Tensor:
        """The class is written in the first pixel."""
        return F.one_hot(images[..., 0, 0, 0].long(), CLASSES).float()

    images = torch.zeros(8, *SHAPE)
    images[:, 0, 0, 0] = answers
    wrong = answers.clone()
    wrong[:3] = (wrong[:3] + 1) % CLASSES
    _, accuracy = evaluate(knowing, images, torch.stack([answers, wrong])[:, None], "cross_entropy", 3)
    assert accuracy.tolist() == [[1.0], [5 / 8]]


def test_one_batch_size_gives_one_answer() -> None:
    network, images, labels = network_of("cnn"), images_of(40), labels_of(1, 1, 40)
    answers = []
    for _ in range(2):
        with evaluation_mode(network, images[None, :16]):
            answers += [evaluate(network, images, labels, "cross_entropy", 16) for _ in range(2)]
    for loss, accuracy in answers[1:]:
        assert torch.equal(loss, answers[0][0])
        assert torch.equal(accuracy, answers[0][1])


def test_evaluation_leaves_no_gradient() -> None:
    network, images = network_of(), images_of(10)
    with evaluation_mode(network, images[None]):
        loss, _ = evaluate(network, images, labels_of(1, 1, 10), "cross_entropy", 5)
    assert not loss.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


# Batch-norm statistics


def torch_twin(network: nn.Module, member: int, architecture: str, momentum: float | None) -> nn.Module:
    """The same network made of PyTorch's layers, running statistics and all."""
    norm = {"momentum": momentum}
    if architecture == "mlp":
        layers = [nn.Flatten(), nn.Linear(64, 6, bias=False), nn.BatchNorm1d(6, **norm), nn.ReLU(), nn.Linear(6, 5)]
    else:
        convolutions = [nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6, **norm), nn.ReLU()]
        convolutions += [nn.MaxPool2d(2), nn.Conv2d(6, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12, **norm)]
        convolutions += [nn.ReLU(), nn.MaxPool2d(2)]
        layers = [*convolutions, nn.Flatten(), nn.Linear(12 * 4, 6), nn.ReLU(), nn.Linear(6, 5)]
    twin = nn.Sequential(*layers)
    with torch.no_grad():
        for theirs, ours in zip(twin.parameters(), network.parameters(), strict=True):
            theirs.copy_(ours[member])
    return twin.to(next(network.parameters()).dtype)


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
@pytest.mark.parametrize("momentum", [1.0, None])
def test_statistics_are_those_torch_keeps_after_one_batch(architecture: str, momentum: float | None) -> None:
    """With momentum 1, or None for the first batch, torch keeps that batch's mean and its unbiased variance."""
    network = network_of(architecture).double()
    images, others = images_of(32).double(), images_of(9).double()
    with evaluation_mode(network, images[None]), torch.no_grad():
        found = network(others[None])
    for member in range(STACK):
        twin = torch_twin(network, member, architecture, momentum).train()
        with torch.no_grad():
            twin(images)
            for module in twin:
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    pixels = 1 if architecture == "mlp" else {6: 64, 12: 16}[module.num_features]
                    values = len(images) * pixels
                    module.running_var.mul_((values - 1) / values)  # training normalizes by the biased variance
            torch.testing.assert_close(found[member], twin.eval()(others), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("architecture", ["mlp", "cnn", "resnet"])
def test_on_the_images_of_the_statistics_evaluation_is_training_mode(architecture: str) -> None:
    depth = 8 if architecture == "resnet" else 1
    options = {"architecture": architecture, "normalization": "batch", "blocks": 2}
    network = build(recipe(4, depth, network=options).network, SHAPE, CLASSES, STACK).double()
    network.initialize(range(STACK))
    images = images_of(12).double()[None]
    with torch.no_grad():
        expected = network.train()(images)
        with evaluation_mode(network, images):
            torch.testing.assert_close(network(images), expected, rtol=1e-10, atol=1e-10)


def test_an_example_is_evaluated_alike_in_any_company() -> None:
    network, images = network_of("cnn").double(), images_of(12).double()[None]
    with evaluation_mode(network, images), torch.no_grad():
        together = network(images)
        alone = torch.cat([network(images[:, [index]]) for index in range(12)], dim=1)
    torch.testing.assert_close(alone, together, rtol=1e-10, atol=1e-10)


def test_statistics_are_made_at_the_weights_given() -> None:
    """At other weights the statistics are other ones; keeping the old ones would give another loss."""
    network, other = network_of(), network_of()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(3).add_(0.1)
    images, labels = images_of(40), labels_of(1, 1, 40)
    weights = dict(other.named_parameters())

    def moved(x: Tensor) -> Tensor:
        return torch.func.functional_call(network, weights, (x,))

    with evaluation_mode(other, images[None]):
        expected, _ = evaluate(other, images, labels, "cross_entropy", 10)
    with evaluation_mode(network, images[None], weights):
        found, _ = evaluate(moved, images, labels, "cross_entropy", 10)
    with evaluation_mode(network, images[None]):
        stale, _ = evaluate(moved, images, labels, "cross_entropy", 10)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    assert bool(((stale - expected).abs() > 0.01 * expected).all())


def test_statistics_follow_the_weights_from_one_evaluation_to_the_next() -> None:
    network, images, labels = network_of(), images_of(40), labels_of(1, 1, 40)
    with evaluation_mode(network, images[None]):
        before, _ = evaluate(network, images, labels, "cross_entropy", 40)
    with torch.no_grad():
        hidden = network.get_parameter("1.weight")
        hidden.mul_(5)  # batch normalization takes the scale of the weights before it away
    with evaluation_mode(network, images[None]):
        after, _ = evaluate(network, images, labels, "cross_entropy", 40)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=0)  # up to epsilon in the denominator


@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_left_behind(training: bool) -> None:
    network, images = network_of("cnn").train(training), images_of(8)[None]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    assert len(norms) == 2
    with evaluation_mode(network, images):
        assert not network.training
        assert all(norm.statistics is not None and not norm.collecting for norm in norms)
    assert all(module.training is training for module in network.modules())
    assert all(norm.statistics is None and not norm.collecting for norm in norms)
    assert state.keys() == network.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_left_behind_after_an_error(training: bool) -> None:
    network, images = network_of("cnn").train(training), images_of(8)[None]

    def fail() -> None:
        with evaluation_mode(network, images):
            raise ArithmeticError("in the middle of an evaluation")

    def fail_earlier() -> None:
        with evaluation_mode(network, images[..., :3]):  # such images do not fit the linear layer
            pytest.fail("the statistics cannot have been computed")

    for function, error in ((fail, ArithmeticError), (fail_earlier, RuntimeError)):
        with pytest.raises(error):
            function()
        assert all(module.training is training for module in network.modules())
        norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
        assert all(norm.statistics is None and not norm.collecting for norm in norms)


def test_without_statistics_nothing_is_evaluated() -> None:
    network = network_of().eval()
    with pytest.raises(RuntimeError, match="statistics were not computed"):
        evaluate(network, images_of(4), labels_of(1, 1, 4), "cross_entropy", 4)
