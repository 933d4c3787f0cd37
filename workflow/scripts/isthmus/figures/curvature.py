"""The figures of curvature that are more than means: sharpness in training, spectra, and the response to noise."""

from isthmus.figures.noise import draw_noise_response
from isthmus.figures.sharpness import draw_sharpness_in_training
from isthmus.figures.spectra import draw_spectra

__all__ = [
    "draw_noise_response",
    "draw_sharpness_in_training",
    "draw_spectra",
]
