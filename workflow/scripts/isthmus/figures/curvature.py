"""The figures of curvature that are more than means: sharpness in training, and spectra."""

from isthmus.figures.sharpness import draw_sharpness_in_training
from isthmus.figures.spectra import draw_spectra

__all__ = ["draw_sharpness_in_training", "draw_spectra"]
