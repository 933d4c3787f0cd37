"""Image corruptions at five severities, after Hendrycks & Dietterich (2019), adapted to small images.

Every corruption is a pure function that maps images `[N, C, H, W]`, float32 in [0, 1], to images of the same kind.
Random corruptions draw from the NumPy generator they are given. `SEVERITIES` holds the strengths; `corrupt` looks them
up.

For colour images, the first eight corruptions have the strengths of CIFAR-10-C. Grayscale images here are strokes on a
plain background, which such small strengths hardly disturb. They get the noise, brightness, contrast and JPEG quality
of ImageNet-C, as in MNIST-C (Mu & Gilmer 2019), and coarser blur and pixels. Neither benchmark has translation and
rotation, so we chose their strengths. Lengths are fractions of the image's shorter side.

The code uses PyTorch and Pillow. Importing torchvision's transforms would cost every job more than a second, because it
also loads PyTorch's compiler.

    corrupted = corrupt(images, "gaussian_noise", severity=3, seed=0)
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from isthmus.core.seeds import Stream, generator

IMAGES_AT_ONCE = 1000  # bounds the memory of intermediate results


def gaussian_noise(images: Tensor, deviation: float, random: np.random.Generator) -> Tensor:
    """Add independent Gaussian noise with standard deviation `deviation` to every value, and clip."""
    noise = random.standard_normal(tuple(images.shape), dtype=np.float32)
    return (images + deviation * torch.from_numpy(noise)).clamp_(0, 1)


def shot_noise(images: Tensor, photons: float, random: np.random.Generator) -> Tensor:
    """Replace each value x by a Poisson count with mean `photons` * x, divided by `photons` and clipped at 1."""
    counts = random.poisson(photons * images.double().numpy())
    return torch.from_numpy(counts / photons).to(images.dtype).clamp_(max=1)


def impulse_noise(images: Tensor, fraction: float, random: np.random.Generator) -> Tensor:
    """With probability `fraction`, replace a value by 0 or 1, equally likely (salt and pepper)."""
    drawn = torch.from_numpy(random.random(tuple(images.shape), dtype=np.float32))
    return images.masked_fill(drawn < fraction / 2, 0.0).masked_fill_(drawn >= 1 - fraction / 2, 1.0)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Convolve with a Gaussian of standard deviation `sigma` pixels, cut off at 3 sigma, with reflected edges."""
    radius = min(math.ceil(3 * sigma), min(images.shape[-2:]) - 1)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2).to(images.dtype)
    kernel /= kernel.sum()
    planes = F.pad(images.flatten(0, 1)[:, None], [radius] * 4, mode="reflect")
    blurred = F.conv2d(F.conv2d(planes, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return blurred.view(images.shape).clamp_(0, 1)


def brightness(images: Tensor, amount: float) -> Tensor:
    """Add `amount` to each pixel's HSV value (its largest channel) and clip; hue and saturation do not change."""
    value = images.amax(1, keepdim=True)
    brighter = (value + amount).clamp_(0, 1)
    return torch.where(value > 0, images * (brighter / value), brighter).clamp_(0, 1)


def contrast(images: Tensor, factor: float) -> Tensor:
    """Scale each value's distance from the mean of its image and channel by `factor`, and clip."""
    mean = images.mean((2, 3), keepdim=True)
    return (mean + factor * (images - mean)).clamp_(0, 1)


def pixelate(images: Tensor, kept: float) -> Tensor:
    """Reduce the images to a fraction `kept` of their rows and columns, rounded, and enlarge them again.

    Both steps average over areas: each coarse pixel is the mean over its area, and each output pixel is the mean of the
    coarse pixels it overlaps. Hendrycks & Dietterich enlarge without the second average. In small images, some grids
    then happen to line up with the pixels, and a milder severity can disturb more than a stronger one.
    """
    height, width = images.shape[-2:]
    rows, columns = (_areas(side, max(round(kept * side), 1)).to(images.dtype) for side in (height, width))
    coarse = rows @ images @ columns.T * (len(rows) * len(columns) / (height * width))
    return (rows.T @ coarse @ columns).clamp_(0, 1)


def _areas(side: int, fewer: int) -> Tensor:
    """Overlaps `[fewer, side]` between `fewer` equal parts of a line and its `side` pixels, in pixels."""
    ends, pixels = torch.arange(fewer + 1, dtype=torch.float64) * side / fewer, torch.arange(side)
    return (torch.minimum(ends[1:, None], pixels + 1) - torch.maximum(ends[:-1, None], pixels)).clamp_(min=0)


def jpeg(images: Tensor, quality: float) -> Tensor:
    """Encode as JPEG with a quality from 1 to 100, and decode; images are rounded to 8 bits."""
    raw = (255 * images).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    decoded = np.stack([_through_jpeg(image.squeeze(-1) if image.shape[-1] == 1 else image, quality) for image in raw])
    pixels = torch.from_numpy(decoded).view(len(raw), *raw.shape[1:]).permute(0, 3, 1, 2)
    return pixels.to(images.dtype).contiguous() / 255


def _through_jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    """Write one image, uint8 `[H, W]` or `[H, W, 3]`, to JPEG and read it back."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=round(quality))
    with Image.open(file) as opened:
        return np.array(opened)


def translation(images: Tensor, distance: float, random: np.random.Generator) -> Tensor:
    """Shift each image by `distance` pixels in its own random direction."""
    angles = torch.from_numpy(random.uniform(0, 2 * math.pi, len(images)))
    return shift(images, distance * angles.cos(), distance * angles.sin())


def rotation(images: Tensor, degrees: float, random: np.random.Generator) -> Tensor:
    """Rotate each image about its centre by `degrees`, clockwise or counterclockwise at random."""
    return rotate(images, torch.from_numpy(random.choice([-degrees, degrees], len(images))))


def shift(images: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Shift each image by `right` and `down` pixels, `[N]` each, bilinearly; gaps repeat the edge."""
    return _moved(images, torch.zeros(len(images)), right, down)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotate each image about its centre, clockwise by `[N]` degrees, bilinearly; gaps repeat the edge."""
    return _moved(images, degrees, torch.zeros(len(images)), torch.zeros(len(images)))


def _moved(images: Tensor, degrees: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Rotate each image clockwise, then shift it."""
    height, width = images.shape[-2:]
    angles = torch.deg2rad(degrees.double())
    cosine, sine = angles.cos(), angles.sin()
    # affine_grid needs the inverse map, in units of half an image from the centre.
    back_x = torch.stack([cosine, sine * height / width, -2 * (cosine * right + sine * down) / width], dim=1)
    back_y = torch.stack([-sine * width / height, cosine, -2 * (cosine * down - sine * right) / height], dim=1)
    places = F.affine_grid(torch.stack([back_x, back_y], dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, places.to(images.dtype), padding_mode="border", align_corners=False).clamp_(0, 1)


@dataclass(frozen=True)
class Severities:
    """A corruption and its strengths at severities 1 to 5.

    number: seeds its random draws; results depend on it, so never change it. grayscale, colour: strengths for images
    with one channel and with several. drawn: whether the corruption is random. of_side: whether the strengths are
    lengths, as fractions of the image's shorter side.
    """

    number: int
    apply: Callable[..., Tensor]
    grayscale: tuple[float, ...]
    colour: tuple[float, ...]
    drawn: bool = False
    of_side: bool = False


BLUR = (0.04, 0.055, 0.07, 0.085, 0.1), (0.0125, 0.01875, 0.021875, 0.025, 0.03125)  # colour: CIFAR-10-C at 32 pixels
SHIFTS = (0.03, 0.06, 0.09, 0.12, 0.15)
DEGREES = (5, 10, 15, 20, 25)

SEVERITIES: dict[str, Severities] = {
    "gaussian_noise": Severities(
        0, gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38), (0.04, 0.06, 0.08, 0.09, 0.10), drawn=True
    ),
    "shot_noise": Severities(1, shot_noise, (60, 25, 12, 5, 3), (500, 250, 100, 75, 50), drawn=True),
    "impulse_noise": Severities(
        2, impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27), (0.01, 0.02, 0.03, 0.05, 0.07), drawn=True
    ),
    "gaussian_blur": Severities(3, gaussian_blur, *BLUR, of_side=True),
    "brightness": Severities(4, brightness, (0.1, 0.2, 0.3, 0.4, 0.5), (0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": Severities(5, contrast, (0.4, 0.3, 0.2, 0.1, 0.05), (0.75, 0.5, 0.4, 0.3, 0.15)),
    "pixelate": Severities(6, pixelate, (0.85, 0.7, 0.6, 0.5, 0.35), (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg": Severities(7, jpeg, (25, 18, 15, 10, 7), (80, 65, 58, 50, 40)),
    "translation": Severities(8, translation, SHIFTS, SHIFTS, drawn=True, of_side=True),
    "rotation": Severities(9, rotation, DEGREES, DEGREES, drawn=True),
}
"""All corruptions by name, in the order in which tables and figures show them."""


def strength(corruption: str, severity: int, shape: tuple[int, int, int]) -> float:
    """The strength of a corruption at a severity from 1 to 5, for images of `shape` (channels, height, width).

    The function of the same name says what the strength means; lengths are in pixels. Raises ValueError for an unknown
    corruption or severity.
    """
    if corruption not in SEVERITIES:
        raise ValueError(f"there is no corruption {corruption!r}; there are {', '.join(SEVERITIES)}")
    if severity not in range(1, 6):
        raise ValueError(f"the severity is {severity!r}; allowed are 1, 2, 3, 4 and 5")
    channels, height, width = shape
    known = SEVERITIES[corruption]
    value = (known.grayscale if channels == 1 else known.colour)[severity - 1]
    return value * min(height, width) if known.of_side else value


def corrupt(images: Tensor, corruption: str, severity: int, seed: int) -> Tensor:
    """Corrupt images `[N, C, H, W]`, float32 in [0, 1], on the CPU, at a severity from 1 to 5.

    Random draws depend only on `seed`, the corruption and the severity, so equal arguments give equal images. Raises
    ValueError for an unknown corruption or severity.
    """
    channels, height, width = images.shape[1:]
    value = strength(corruption, severity, (channels, height, width))
    known = SEVERITIES[corruption]
    random = [generator(seed, Stream.CORRUPTIONS, known.number, severity)] if known.drawn else []
    return torch.cat([known.apply(part, value, *random) for part in images.split(IMAGES_AT_ONCE)])
