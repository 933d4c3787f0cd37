"""Corruptions of images: what the strength of each one says is what it does."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from isthmus.data import corruptions
from isthmus.data.corruptions import IMAGES_AT_ONCE, SEVERITIES, corrupt, strength
from isthmus.data.dataset import Dataset

GREY = torch.full((40, 1, 28, 28), 0.5)


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def smooth() -> Tensor:
    """Colour images `[20, 3, 32, 32]` with some structure, between 0 and 1."""
    coarse = torch.rand(20, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (32, 32), mode="bicubic").clamp(0, 1)


def test_gaussian_noise_has_the_standard_deviation_stated() -> None:
    noise = corruptions.gaussian_noise(GREY, 0.08, generator()) - GREY
    assert noise.mean().abs() < 5 * 0.08 / math.sqrt(noise.numel())
    assert float(noise.std()) == pytest.approx(0.08, rel=5 / math.sqrt(2 * noise.numel()))


def test_shot_noise_has_the_variance_mean_over_photons() -> None:
    noisy = corruptions.shot_noise(GREY, 60, generator())
    assert float(noisy.mean()) == pytest.approx(0.5, abs=5 * math.sqrt(0.5 / 60 / noisy.numel()))
    assert float(noisy.var()) == pytest.approx(0.5 / 60, rel=0.05)
    assert torch.allclose(60 * noisy, (60 * noisy).round(), atol=1e-4)
    assert torch.equal(corruptions.shot_noise(0 * GREY, 60, generator()), 0 * GREY)


def test_impulse_noise_changes_the_fraction_stated_to_black_and_white_equally_often() -> None:
    noisy, count = corruptions.impulse_noise(GREY, 0.09, generator()), GREY.numel()
    error = 5 * math.sqrt(0.045 / count)
    assert float((noisy == 0).sum()) / count == pytest.approx(0.045, abs=error)
    assert float((noisy == 1).sum()) / count == pytest.approx(0.045, abs=error)
    assert set(noisy.unique().tolist()) == {0.0, 0.5, 1.0}


def test_a_blurred_point_is_a_gaussian() -> None:
    point = torch.zeros(1, 1, 21, 21)
    point[..., 10, 10] = 1
    blurred = corruptions.gaussian_blur(point, 2.0)[0, 0]
    distance = torch.arange(21.0) - 10
    row = torch.exp(-(distance**2) / 8) * (distance.abs() <= 6)
    torch.testing.assert_close(blurred, torch.outer(row, row) / row.sum() ** 2)
    torch.testing.assert_close(corruptions.gaussian_blur(GREY, 2.0), GREY)


def test_brightness_adds_the_amount_stated_and_clips() -> None:
    ramp = torch.linspace(0, 1, 11).view(1, 1, 1, 11)
    torch.testing.assert_close(corruptions.brightness(ramp, 0.3), (ramp + 0.3).clamp(max=1))


def test_brightness_leaves_hue_and_saturation(smooth: Tensor) -> None:
    brighter = corruptions.brightness(smooth, 0.1)
    value, now = smooth.amax(1), brighter.amax(1)
    torch.testing.assert_close(now, (value + 0.1).clamp(max=1))
    torch.testing.assert_close(brighter / now[:, None], smooth / value[:, None])
    black = torch.zeros(1, 3, 2, 2)
    torch.testing.assert_close(corruptions.brightness(black, 0.1), black + 0.1)


def test_contrast_pulls_towards_the_mean_of_the_image(smooth: Tensor) -> None:
    mean = smooth.mean((2, 3), keepdim=True)
    pulled = corruptions.contrast(smooth, 0.4)
    torch.testing.assert_close(pulled - mean, 0.4 * (smooth - mean))
    torch.testing.assert_close(corruptions.contrast(smooth, 0.0), mean.expand_as(smooth))
    torch.testing.assert_close(corruptions.contrast(smooth, 1.0), smooth)


def test_pixels_as_large_as_two_are_means_of_four(smooth: Tensor) -> None:
    coarse = torch.nn.functional.avg_pool2d(smooth, 2)
    torch.testing.assert_close(
        corruptions.pixelate(smooth, 0.5), coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    )


@pytest.mark.parametrize("kept", [0.95, 0.6, 0.35])
def test_pixelation_keeps_the_mean_and_what_is_constant(smooth: Tensor, kept: float) -> None:
    torch.testing.assert_close(corruptions.pixelate(smooth, kept).mean((2, 3)), smooth.mean((2, 3)))
    torch.testing.assert_close(corruptions.pixelate(GREY, kept), GREY)
    assert torch.equal(corruptions.pixelate(smooth, 1.0), smooth)


def test_jpeg_keeps_grey_and_drops_detail_as_torchvision_does(smooth: Tensor) -> None:
    assert (corruptions.jpeg(GREY, 100) - GREY).abs().max() < 2 / 255
    for images in (smooth, smooth[:, :1]):
        raw = (255 * images).round().to(torch.uint8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torchvision's encoder
            expected = functional.jpeg(raw, 10).float() / 255
        torch.testing.assert_close(corruptions.jpeg(images, 10), expected, atol=2.5 / 255, rtol=0)
        assert (expected - images).abs().max() > 10 / 255


@pytest.mark.parametrize(("right", "down"), [(2, 0), (0, -3), (1, 1)])
def test_a_shift_by_whole_pixels_moves_them_and_repeats_the_edge(smooth: Tensor, right: int, down: int) -> None:
    rows = (torch.arange(32) - down).clamp(0, 31)
    columns = (torch.arange(32) - right).clamp(0, 31)
    shifted = corruptions.shift(smooth, torch.full((20,), right), torch.full((20,), down))
    torch.testing.assert_close(shifted, smooth[:, :, rows][..., columns], atol=1e-4, rtol=0)


def test_a_translation_is_by_the_distance_stated_in_all_directions() -> None:
    spot = torch.zeros(2000, 1, 25, 25)
    spot[:, :, 11:14, 11:14] = 1 / 9
    moved = corruptions.translation(spot, 3.0, generator())[:, 0]
    place = torch.arange(25.0) - 12
    down, right = (moved.sum(2) * place).sum(1), (moved.sum(1) * place).sum(1)
    torch.testing.assert_close(down.hypot(right), torch.full((2000,), 3.0), atol=1e-3, rtol=0)
    quarters = torch.bincount(2 * (down > 0) + (right > 0), minlength=4)
    assert ((quarters - 500).abs() < 5 * math.sqrt(2000 * 0.25 * 0.75)).all()


def test_rotations_by_nothing_and_by_a_right_angle(smooth: Tensor) -> None:
    torch.testing.assert_close(corruptions.rotate(smooth, torch.zeros(20)), smooth)
    turned = corruptions.rotate(smooth, torch.full((20,), 90.0))
    torch.testing.assert_close(turned, smooth.rot90(-1, (2, 3)), atol=1e-4, rtol=0)
    both = corruptions.rotation(smooth, 90.0, generator())
    left, right = ((both - smooth.rot90(way, (2, 3))).abs().amax((1, 2, 3)) < 1e-4 for way in (1, -1))
    assert (left ^ right).all()
    assert 3 <= left.sum() <= 17


def test_images_are_blurred_and_moved_as_torchvision_does(smooth: Tensor) -> None:
    oblong = smooth[:, :, :20]
    for sigma in (0.4, 1.0, 2.8):
        expected = functional.gaussian_blur(oblong, [2 * math.ceil(3 * sigma) + 1] * 2, [sigma] * 2)
        torch.testing.assert_close(corruptions.gaussian_blur(oblong, sigma), expected, atol=1e-5, rtol=0)
    wide = functional.pad(oblong, [30], padding_mode="edge")
    given = {"scale": 1.0, "shear": [0.0, 0.0], "interpolation": functional.InterpolationMode.BILINEAR}
    inside = (..., slice(30, -30), slice(30, -30))
    turned = functional.affine(wide, angle=17.0, translate=[0.0, 0.0], **given)[inside]
    torch.testing.assert_close(corruptions.rotate(oblong, torch.full((20,), 17.0)), turned, atol=1e-4, rtol=0)
    shifted = functional.affine(wide, angle=0.0, translate=[2.3, -1.6], **given)[inside]
    found = corruptions.shift(oblong, torch.full((20,), 2.3), torch.full((20,), -1.6))
    torch.testing.assert_close(found, shifted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("corruption", SEVERITIES)
@pytest.mark.parametrize("kind", ["digits", "colour"])
def test_a_higher_severity_is_farther_from_the_clean_images(
    digits: Dataset, smooth: Tensor, corruption: str, kind: str
) -> None:
    images = smooth if kind == "colour" else digits.test_images / 16
    before = images.clone()
    corrupted = [corrupt(images, corruption, severity, 0) for severity in range(1, 6)]
    distances = [float((each - images).square().mean()) for each in corrupted]
    assert all(nearer < farther for nearer, farther in itertools.pairwise(distances)), distances
    assert distances[0] > 0
    assert all(0 <= each.min() <= each.max() <= 1 for each in corrupted)
    assert all(each.shape == images.shape and each.dtype == torch.float32 for each in corrupted)
    assert torch.equal(images, before)


def test_equal_seeds_give_equal_images_in_any_order() -> None:
    names = [name for name, known in SEVERITIES.items() if known.drawn]
    images = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    forwards = {(name, s): corrupt(images, name, s, 3) for name in names for s in (1, 5)}
    torch.manual_seed(7)
    backwards = {(name, s): corrupt(images, name, s, 3) for name in reversed(names) for s in (5, 1)}
    for key, found in forwards.items():
        assert torch.equal(found, backwards[key])
        assert not torch.equal(found, corrupt(images, *key, 4))


def test_severities_and_corruptions_draw_separately() -> None:
    noise = [corrupt(GREY, "gaussian_noise", s, 0).sub(GREY).div(0.08 if s == 1 else 0.12) for s in (1, 2)]
    assert abs(float((noise[0] * noise[1]).mean())) < 5 / math.sqrt(GREY.numel())
    assert len({known.number for known in SEVERITIES.values()}) == len(SEVERITIES)


def test_noise_is_drawn_anew_for_every_image_also_of_many() -> None:
    noisy = corrupt(torch.full((IMAGES_AT_ONCE + 5, 1, 2, 2), 0.5), "gaussian_noise", 1, 0)
    assert len({tuple(each.flatten().tolist()) for each in noisy}) == IMAGES_AT_ONCE + 5


def test_lengths_scale_with_the_image_and_colour_follows_cifar() -> None:
    assert strength("gaussian_blur", 5, (3, 32, 32)) == pytest.approx(1.0)  # CIFAR-10-C
    assert strength("translation", 1, (1, 28, 28)) == pytest.approx(3.5 * strength("translation", 1, (1, 8, 9)))
    assert [strength("gaussian_noise", 5, (channels, 32, 32)) for channels in (1, 3)] == [0.38, 0.10]


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no corruption 'fog'; there are gaussian_noise, shot_noise"):
        corrupt(GREY, "fog", 1, 0)
    with pytest.raises(ValueError, match="severity is 6; allowed are 1, 2, 3, 4 and 5"):
        corrupt(GREY, "jpeg", 6, 0)
