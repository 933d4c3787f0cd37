"""Random flips and crops, drawn for each image and applied on the device that holds the images."""

import torch
from torch import Tensor

from isthmus.core import seeds


def draw(seed: int, step: int, count: int, flip: bool, padding: int) -> tuple[Tensor, Tensor]:
    """Draws for one batch of one network: mirror flags `[count]` (bool) and offsets `[2, count]` in 0..2 padding.

    They depend only on the network's seed and the step.
    """
    generator = torch.Generator().manual_seed(seeds.integer(seed, seeds.Stream.AUGMENTATION, step))
    mirrored = torch.rand(count, generator=generator) < (0.5 if flip else 0.0)
    offsets = torch.randint(2 * padding + 1, (2, count), generator=generator)
    return mirrored, offsets


def augment(images: Tensor, mirrored: Tensor, offsets: Tensor, padding: int, fill: Tensor) -> Tensor:
    """Mirror and crop images `[M, C, H, W]`; pixels outside the image get the value `fill` `[C]`."""
    height, width = images.shape[2:]
    columns = torch.arange(width, device=images.device).expand(len(images), -1)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    if not padding:
        return images.gather(3, columns[:, None, None, :].expand_as(images))
    padded = fill[:, None, None].repeat(len(images), 1, height + 2 * padding, width + 2 * padding)
    padded[:, :, padding:-padding, padding:-padding] = images
    rows = offsets[0, :, None] + torch.arange(height, device=images.device)
    # A mirrored image is first cropped and then mirrored, so offsets refer to the original image.
    columns = offsets[1, :, None] + columns
    image = torch.arange(len(images), device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
