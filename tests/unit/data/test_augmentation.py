"""Flips and crops, against a loop over images with torch.nn.functional.pad and slices."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus.data.augmentation import augment, draw

COUNT, CHANNELS, HEIGHT, WIDTH = 40, 3, 7, 5
FILL = torch.tensor([-1.0, 2.0, 5.0])


def pixels() -> Tensor:
    """Images of whole numbers, all different, on which additions and subtractions are exact."""
    return torch.randperm(COUNT * CHANNELS * HEIGHT * WIDTH).float().view(COUNT, CHANNELS, HEIGHT, WIDTH)


def one_by_one(images: Tensor, mirrored: Tensor, offsets: Tensor, padding: int, fill: Tensor) -> Tensor:
    """Pad, crop at the offset, and mirror after that, image by image."""
    results = []
    for image, mirror, top, left in zip(images, mirrored.tolist(), *offsets.tolist(), strict=True):
        planes = zip(image, fill.tolist(), strict=True)
        padded = torch.stack([F.pad(plane, (padding,) * 4, value=value) for plane, value in planes])
        window = padded[:, top : top + HEIGHT, left : left + WIDTH]
        results.append(window.flip(2) if mirror else window)
    return torch.stack(results)


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_augmented_images_are_windows_of_the_padded_image_mirrored_or_not(flip: bool, padding: int) -> None:
    images = pixels()
    mirrored, offsets = draw(3, 17, COUNT, flip, padding)
    found = augment(images, mirrored, offsets, padding, FILL)
    assert torch.equal(found, one_by_one(images, mirrored, offsets, padding, FILL))


@pytest.mark.parametrize("padding", [0, 2])
def test_channels_last_images_are_augmented_alike(padding: int) -> None:
    images = pixels()
    draws = draw(3, 17, COUNT, True, padding)
    other = augment(images.contiguous(memory_format=torch.channels_last), *draws, padding, FILL)
    assert torch.equal(other, augment(images, *draws, padding, FILL))


def test_pixels_of_the_image_are_kept_to_the_last_bit() -> None:
    """A crop moves pixels; it does not compute with them."""
    images, fill = torch.randn(COUNT, CHANNELS, HEIGHT, WIDTH), torch.tensor([-0.4242129, -1.98, -2.4290657])
    mirrored, offsets = draw(0, 0, COUNT, True, 2)
    assert torch.equal(augment(images, mirrored, offsets, 2, fill), one_by_one(images, mirrored, offsets, 2, fill))


def test_without_flip_and_padding_images_stay_as_they_are() -> None:
    images = torch.randn(COUNT, CHANNELS, HEIGHT, WIDTH)
    assert torch.equal(augment(images, *draw(5, 1, COUNT, False, 0), 0, FILL), images)


def test_mirroring_twice_is_the_identity() -> None:
    images, everywhere = torch.randn(COUNT, CHANNELS, HEIGHT, WIDTH), torch.ones(COUNT, dtype=torch.bool)
    offsets = torch.zeros(2, COUNT, dtype=torch.int64)
    once = augment(images, everywhere, offsets, 0, FILL)
    assert torch.equal(once, images.flip(3))
    assert torch.equal(augment(once, everywhere, offsets, 0, FILL), images)


def test_outside_the_image_every_channel_has_its_fill() -> None:
    images, padding = pixels(), 3
    corner = torch.zeros(2, COUNT, dtype=torch.int64)
    found = augment(images, torch.zeros(COUNT, dtype=torch.bool), corner, padding, FILL)
    border = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    border[padding:, padding:] = False
    assert torch.equal(found[:, :, border], FILL[:, None].expand(COUNT, -1, int(border.sum())))
    assert torch.equal(found[:, :, padding:, padding:], images[:, :, : HEIGHT - padding, : WIDTH - padding])


# The draws


def test_half_of_the_images_are_mirrored_and_all_offsets_are_equally_likely() -> None:
    """Counts lie within five standard deviations of their binomial means."""
    count, padding = 20_000, 2
    mirrored, offsets = draw(11, 0, count, True, padding)
    assert abs(int(mirrored.sum()) - count / 2) < 5 * (count / 4) ** 0.5
    for axis in offsets:
        expected = count / 5
        counts = torch.bincount(axis)
        assert len(counts) == 2 * padding + 1
        assert bool(((counts - expected).abs() < 5 * (expected * 4 / 5) ** 0.5).all())
    both = torch.stack([mirrored.double(), *offsets.double()])
    assert bool(((torch.corrcoef(both) - torch.eye(3)).abs() < 5 / count**0.5).all())


def test_without_flip_no_image_is_mirrored() -> None:
    mirrored, _ = draw(11, 0, 1000, False, 2)
    assert not bool(mirrored.any())


def test_draws_depend_on_the_seed_and_the_step_alone() -> None:
    torch.manual_seed(0)
    first = draw(7, 3, 100, True, 4)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    draw(8, 3, 100, True, 4)
    again = draw(7, 3, 100, True, 4)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    for other in (draw(8, 3, 100, True, 4), draw(7, 4, 100, True, 4)):
        assert not torch.equal(first[0], other[0])
        assert not torch.equal(first[1], other[1])
