"""The permutation structure of every architecture: renumbered networks compute the same function."""

import numpy as np
import pytest
import torch
from architectures import CLASSES, SHAPE, logits, network_recipe, random_weights, recipe_name, recipes, some_images

from isthmus.models.hidden_units import Axis, Group, Place, apply, compose, identity, inverse, random_permutations
from isthmus.models.unit_groups import groups
from isthmus.recipes.recipe import NetworkRecipe

every_recipe = pytest.mark.parametrize(
    "chosen", [*recipes(4), network_recipe("cnn", 4, 1, "batch", blocks=1, hidden_units=0)], ids=recipe_name
)


@every_recipe
def test_a_random_permutation_of_every_group_leaves_the_function_as_it_is(chosen: NetworkRecipe) -> None:
    weights, images = random_weights(chosen, 1), some_images()
    found = groups(chosen, SHAPE, CLASSES)
    before = logits(chosen, weights, images)
    for seed in range(3):
        permutations = random_permutations(found, np.random.default_rng(seed))
        permuted = apply(permutations, weights, found)
        for name, group in found.items():
            if not torch.equal(permutations[name], torch.arange(group.size)):
                assert all(not torch.equal(permuted[axis.name], weights[axis.name]) for axis in group.axes)
        torch.testing.assert_close(logits(chosen, permuted, images), before, rtol=1e-10, atol=1e-11)


@every_recipe
def test_every_axis_of_every_group_is_needed(chosen: NetworkRecipe) -> None:
    """Permuting all axes of a group but one gives another function."""
    weights, images = random_weights(chosen, 1), some_images()
    before = logits(chosen, weights, images)
    for name, group in groups(chosen, SHAPE, CLASSES).items():
        turned = {name: torch.arange(group.size).roll(1)}
        for axis in group.axes:
            others = Group(group.size, tuple(other for other in group.axes if other != axis))
            permuted = apply(turned, weights, {name: others})
            assert (logits(chosen, permuted, images) - before).abs().max() > 1e-4 * before.abs().max(), axis


@every_recipe
def test_groups_carry_all_axes_of_units_but_those_of_pixels_and_classes(chosen: NetworkRecipe) -> None:
    weights = random_weights(chosen, 1)
    found = groups(chosen, SHAPE, CLASSES)
    carried = [(axis.name, axis.dimension) for group in found.values() for axis in group.axes]
    assert len(carried) == len(set(carried))
    names = list(weights)
    units = {(name, dimension) for name, value in weights.items() for dimension in range(min(value.dim(), 2))}
    assert units - set(carried) == {(names[0], 1), (names[-2], 0), (names[-1], 0)}
    assert set(carried) < units
    for group in found.values():
        assert len({axis.name for axis in group.axes}) == len(group.axes), "one group twice in a parameter"


def test_groups_of_an_mlp_are_its_hidden_layers() -> None:
    found = groups(network_recipe("mlp", 5, 2, "layer"), (1, 8, 8), 10)
    # 0 flattens; 1 linear, 2 norm, 3 activation; 4 linear, 5 norm, 6 activation; 7 the output.
    names = (("1.weight", 0), ("1.bias", 0), ("2.weight", 0), ("2.bias", 0), ("4.weight", 1))
    assert found["1"] == Group(5, tuple(Axis(*each) for each in names), (Place("3", 1),))
    names = (("4.weight", 0), ("4.bias", 0), ("5.weight", 0), ("5.bias", 0), ("7.weight", 1))
    assert found == {"1": found["1"], "4": Group(5, tuple(Axis(*each) for each in names), (Place("6", 1),))}


def test_groups_of_the_published_cnn_are_six_layers_of_channels_and_one_of_units() -> None:
    found = groups(network_recipe("cnn", 32, 2, "batch", hidden_units=256), (3, 32, 32), 10)
    assert [group.size for group in found.values()] == [32, 32, 64, 64, 128, 128, 256]
    flattened = [axis for group in found.values() for axis in group.axes if axis.repeat != 1]
    assert [axis.repeat for axis in flattened] == [4 * 4], "32 pixels halved three times leave 4"


def test_a_channel_owns_its_pixels_where_a_linear_layer_reads_it() -> None:
    # 13 x 10 pixels are pooled to 6 x 5 and 3 x 2, and read by the output itself.
    found = groups(network_recipe("cnn", 3, 1, "none", blocks=2, hidden_units=0), SHAPE, CLASSES)
    assert [group.size for group in found.values()] == [3, 6]
    read = list(found.values())[-1].axes[-1]
    assert (read.dimension, read.repeat) == (1, 6)
    weight = torch.arange(36.0).expand(CLASSES, 36)
    group = {"channels": Group(6, (Axis("weight", 1, 6),))}
    permuted = apply({"channels": torch.tensor([5, 0, 1, 2, 3, 4])}, {"weight": weight}, group)["weight"]
    assert permuted[0].tolist() == [*range(30, 36), *range(30)]


def test_a_resnet_has_one_stream_per_stage_and_one_group_inside_each_block() -> None:
    found = groups(network_recipe("resnet", 4, 20, "batch"), (3, 32, 32), 10)
    sizes = [group.size for group in found.values()]
    assert sorted(sizes) == sorted([4, 8, 16] + 3 * [4, 8, 16]), "three blocks per stage"
    streams = [group for group in found.values() if len(group.places) > 1]
    assert [group.size for group in streams] == [4, 8, 16]
    # The entrance and three blocks end in the first stream, three blocks in each of the others.
    assert [len(group.places) for group in streams] == [4, 3, 3]
    for stream, writers, readers in zip(streams, (4, 4, 4), (3 + 2, 2 + 2, 2 + 1), strict=True):
        # Written by the entrance or the projection and three blocks, each with a weight and a bias of its norm; read
        # by the blocks of the stage, and by the first block and the projection of the next one or by the output.
        assert sum(axis.dimension == 0 for axis in stream.axes) == 3 * writers
        assert sum(axis.dimension == 1 for axis in stream.axes) == readers


@every_recipe
def test_permutations_form_a_group(chosen: NetworkRecipe) -> None:
    weights = random_weights(chosen, 2)
    found = groups(chosen, SHAPE, CLASSES)
    first, second = (random_permutations(found, np.random.default_rng(seed)) for seed in (0, 1))
    permuted = apply(first, weights, found)
    both = apply(second, permuted, found)
    back = apply(inverse(first), permuted, found)
    composed = apply(compose(first, second), weights, found)
    unmoved = apply(identity(found), weights, found)
    for name, value in weights.items():
        assert torch.equal(composed[name], both[name])
        assert torch.equal(back[name], value)
        assert torch.equal(unmoved[name], value)
    nothing = compose(first, inverse(first))
    assert all(torch.equal(nothing[name], each) for name, each in identity(found).items())


def test_unit_p_i_comes_to_place_i() -> None:
    group = {"units": Group(3, (Axis("weight", 0),))}
    permuted = apply({"units": torch.tensor([2, 0, 1])}, {"weight": torch.tensor([10, 20, 30])}, group)
    assert permuted["weight"].tolist() == [30, 10, 20]


def test_what_is_no_permutation_of_the_group_is_refused() -> None:
    group = {"units": Group(3, (Axis("weight", 0),))}
    for wrong in ([0, 1], [0, 1, 1], [1, 2, 3]):
        with pytest.raises(ValueError, match=r"group units: not a permutation of 0 \.\. 2"):
            apply({"units": torch.tensor(wrong)}, {"weight": torch.zeros(3)}, group)
    with pytest.raises(ValueError, match="weight has 2 entries along dimension 0; group units needs 3"):
        apply({"units": torch.arange(3)}, {"weight": torch.zeros(2)}, group)
    heads = {"units": Group(4, (Axis("weight", 0),), block=2)}
    apply({"units": torch.tensor([3, 2, 0, 1])}, {"weight": torch.zeros(4)}, heads)
    with pytest.raises(ValueError, match="the units of a block of 2 do not stay together"):
        apply({"units": torch.tensor([3, 1, 0, 2])}, {"weight": torch.zeros(4)}, heads)
    with pytest.raises(KeyError, match="different groups"):
        compose({"units": torch.arange(3)}, {})
