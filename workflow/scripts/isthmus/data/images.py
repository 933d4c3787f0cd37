"""Encoded images (PNG, JPEG, ...) as 8-bit pixels: what is decoded, converted and refused, wherever they come from."""

import io
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageFile

from isthmus.core.errors import DataError

THREADED_PIXELS = 64 * 64  # threads help from this size on; below it they wait for the interpreter lock

Shape = tuple[int, ...]


def decoded(encoded: bytes, where: str) -> np.ndarray:
    """The pixels of an image, uint8 [channels, height, width]; 1 channel for grayscale, otherwise 3.

    where: what the image is called in errors. Raises DataError if the bytes are not an image, or if it has more than 8
    bits per channel.
    """
    try:
        opened = Image.open(io.BytesIO(encoded))
        too_deep = _is_too_deep(opened)
        opened.load()
    except Exception as error:  # damaged images make Pillow's decoders raise all kinds of errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{where} is not an image that can be decoded ({reason}). Put a whole copy in its place, or remove it."
        ) from error
    if too_deep:
        raise DataError(
            f"{where} is an image of more than 8 bits per channel (16, say), which is not "
            "supported. Convert the images to 8 bits first."
        )
    image = _gray_or_colour(opened)
    return np.asarray(image).reshape(image.height, image.width, -1).transpose(2, 0, 1)


def decode_into(pixels: np.ndarray, encoded: bytes, where: str) -> None:
    """Decode an image into `pixels`, uint8 [channels, height, width]; grayscale is repeated over the channels.

    Raises DataError like `decoded`, and if the image has another shape.
    """
    image = decoded(encoded, where)
    if len(image) == 1:
        image = np.broadcast_to(image, (len(pixels), *image.shape[1:]))
    if image.shape != pixels.shape:
        raise DataError(
            f"{where} is an image of {_words(image.shape)}, the first training image "
            f"is one of {_words(pixels.shape)} (channels x height x width): all images of a set "
            "must have one shape. Convert or resize them first."
        )
    pixels[:] = image


def decoding_threads(shape: Shape) -> ThreadPoolExecutor:
    """Threads that decode images of this shape. Pillow releases the interpreter lock while it decodes."""
    return ThreadPoolExecutor(_available_cores() if shape[1] * shape[2] >= THREADED_PIXELS else 1)


def _gray_or_colour(image: Image.Image) -> Image.Image:
    """An image of mode L (grayscale) or RGB."""
    if image.mode in ("L", "RGB"):
        return image
    if image.mode in ("1", "LA", "La"):
        return image.convert("L")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")  # Pillow warns about converting directly
    return image.convert("RGB")


def _is_too_deep(image: ImageFile.ImageFile) -> bool:
    """Whether a channel has more than 8 bits, including RGB;16B, of which Pillow would silently keep the upper 8."""
    if image.mode.startswith(("I", "F")):
        return True
    return image.format in ("PNG", "TIFF") and any(";16" in str(tile[3]) for tile in image.tile)


def _words(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _available_cores() -> int:
    """The cores that this process may use, possibly fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
