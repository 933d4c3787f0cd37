"""Groups of hidden units that are derived from a module: they are those that one finds by hand, and permute freely."""

from collections.abc import Callable

import numpy as np
import own_models
import permutable
import pytest
import torch
import torchvision
from permutable import CLASSES, SHAPE
from torch import nn

from isthmus.core.errors import UserError
from isthmus.models.functional import Stacked
from isthmus.models.hidden_units import Group, apply, random_permutations
from isthmus.models.permutations.check import checked_groups, random_weights
from isthmus.models.same_function import TOLERANCE, difference
from isthmus.models.unit_groups import own_groups

IMAGES = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))
# The size of each group, in the order of the layers.
DERIVED: dict[str, tuple[Callable[[], nn.Module], list[int]]] = {
    "MLP with layer normalization": (permutable.normalized_mlp, [6, 7]),
    "CNN with flattened channels": (permutable.flattened_cnn, [3, 4, 6]),
    # The first stream, inside the first block, inside the second, the second stream.
    "ResNet": (permutable.residual, [3, 4, 6, 6]),
    "depthwise convolutions": (lambda: own_models.depthwise(4, CLASSES, SHAPE), [4, 4, 8]),
    # Two groups, three channels in each, four channels in each, the last layer.
    "grouped convolution": (permutable.grouped, [2, 3, 4, 5]),
    # Three groups of two channels, each with an order of its own, then four channels.
    "group normalization": (permutable.group_normalized, [6, 4]),
    # The stream, two heads of four units, which queries, keys and values share, the hidden layer.
    "nn.TransformerEncoderLayer": (lambda: own_models.ViT(SHAPE, CLASSES), [8, 8, 16]),
    # The same, with a stream that an embedding begins.
    "a reader of tokens": (lambda: own_models.Reader((3,), CLASSES, tokens=7), [8, 8, 16]),
    # The stream, two heads of three units, the hidden layer.
    "attention written by hand": (permutable.HandWrittenViT, [6, 6, 18]),
    # Two heads of queries, two of keys and values; the units of queries and keys, those of values, alike in all heads.
    "attention among heads": (lambda: permutable.HandWrittenViT("heads"), [6, 2, 2, 3, 3, 18]),
    "a softmax over heads": (lambda: permutable.HandWrittenViT("units"), [6, 2, 3, 18]),
    "concatenated channels": (permutable.dense, [3, 4, 6]),
    "tied weights": (lambda: own_models.Tied(SHAPE, CLASSES), [6]),
    "a layer from a stream to itself": (permutable.recurrent, [6]),
    "an operation without a rule": (permutable.sorting, [4]),
    "groups that the module names": (permutable.self_described, [4]),
    # The stem and the first stage share a stream; each stage has one, and its two blocks have one inside each.
    "torchvision's ResNet-18": (
        lambda: torchvision.models.resnet18(num_classes=CLASSES),
        [size for size in (64, 128, 256, 512) for _ in range(3)],
    ),
}  # fmt: skip


def inputs_for(name: str) -> torch.Tensor:
    if name == "a reader of tokens":
        return torch.tensor([[0, 6, 2], [5, 5, 1], [3, 0, 4]])
    return IMAGES.repeat(1, 2, 2, 2)[:, :3] if name.startswith("torchvision") else IMAGES


def moved(group: Group) -> torch.Tensor:
    """A permutation that moves every unit: every block, and every unit of a block in a way of its own."""
    blocks = torch.arange(group.size).view(-1, group.block).roll(1, 0)
    return torch.cat([block.roll(number) for number, block in enumerate(blocks)])


@pytest.mark.parametrize("name", DERIVED)
def test_groups_are_those_found_by_hand_and_leave_the_function_as_it_is(name: str) -> None:
    make, sizes = DERIVED[name]
    images = inputs_for(name)
    found = own_groups(make(), images).groups
    assert sorted(group.size for group in found.values()) == sorted(sizes)
    blocks = {"group normalization": [1, 2], "nn.TransformerEncoderLayer": [1, 1, 4]}
    blocks |= {"a reader of tokens": [1, 1, 4], "attention written by hand": [1, 1, 3]}
    assert sorted(group.block for group in found.values()) == blocks.get(name, [1] * len(sizes))
    network = Stacked(make, 1)
    weights = random_weights(network)
    permutations = {group: moved(each) for group, each in found.items()}
    permuted = apply(permutations, weights, found)
    for group in found.values():
        assert all(not torch.equal(permuted[axis.name], weights[axis.name]) for axis in group.axes)
    apart, size = difference(network, weights, permuted, images)
    assert apart < TOLERANCE * size, "rounding alone; a single axis less makes a difference a hundred times as large"


@pytest.mark.parametrize("name", [each for each in DERIVED if not each.startswith("torchvision")])
def test_every_axis_of_every_group_is_needed(name: str) -> None:
    make, inputs = DERIVED[name][0], inputs_for(name)
    network = Stacked(make, 1)
    weights, found = random_weights(network), own_groups(make(), inputs).groups
    for name, group in found.items():
        turned = {name: moved(group)}
        for axis in group.axes if len(group.axes) > 1 else ():
            others = Group(group.size, tuple(other for other in group.axes if other != axis))
            apart, size = difference(network, weights, apply(turned, weights, {name: others}), inputs)
            assert apart > 1e-6 * size, axis


def test_units_are_recorded_where_layers_read_them() -> None:
    found = own_groups(own_models.ViT(SHAPE, CLASSES), IMAGES).groups
    places = {name: [(place.name, place.reads) for place in group.places] for name, group in found.items()}
    layer = "layers.0"
    assert places == {
        "patches": [(f"{layer}.self_attn", True), (f"{layer}.linear1", True), ("head", True)],
        f"{layer}.self_attn": [],  # they exist only inside a function
        f"{layer}.linear1": [(f"{layer}.linear2", True)],
    }
    concatenated = own_groups(permutable.dense(), IMAGES).groups["first"]
    read = [(place.name, place.reads, place.starts) for place in concatenated.places]
    assert read == [("second", True, (2,)), ("last", True, (2,))], "after the two channels of the images"


def test_units_that_keep_their_positions_are_named_with_the_reason() -> None:
    kept = own_groups(permutable.sorting(), IMAGES).kept
    assert set(kept) == {"second.weight", "second.bias"}
    assert set(kept.values()) == {"no rule says how the operation `sort` treats them"}
    assert not own_groups(permutable.dense(), IMAGES).kept


def test_what_cannot_be_permuted_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="what it computes depends on the values of a tensor"):
        checked_groups(lambda: own_models.Branching(SHAPE, CLASSES), IMAGES)
    with pytest.raises(UserError, match="none of its hidden units can be permuted"):
        checked_groups(lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, CLASSES)), IMAGES)
    with pytest.raises(UserError, match=r"permuting the hidden units sorted changes .* head.weight \(dimension 1\)"):
        checked_groups(lambda: permutable.self_described(wrong=True), IMAGES)
    module = permutable.sorting()
    for entry, message in ((("nothing", 0), "no parameter nothing"), (("head.weight", 1), "its axes have 4, 6 units")):
        module.permutable_units = {"hidden": [("first.weight", 0), entry]}
        with pytest.raises(UserError, match=message):
            own_groups(module, IMAGES)


def test_random_permutations_of_all_groups_together_pass_the_check() -> None:
    make = permutable.HandWrittenViT
    found = checked_groups(make, IMAGES).groups
    network = Stacked(make, 1)
    weights = random_weights(network)
    permutations = random_permutations(found, np.random.default_rng(1))
    changed = difference(network, weights, apply(permutations, weights, found), IMAGES)[0]
    assert changed > 0, "sums in another order round differently"
