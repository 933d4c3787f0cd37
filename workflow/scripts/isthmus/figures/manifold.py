"""The figures of the zero set of the loss."""

from isthmus.figures.manifold_networks import draw_manifold_boundary, draw_manifold_counts, draw_manifold_spectra
from isthmus.figures.manifold_outliers import draw_manifold_outliers
from isthmus.figures.manifold_walks import draw_manifold_walks

__all__ = [
    "draw_manifold_boundary",
    "draw_manifold_counts",
    "draw_manifold_outliers",
    "draw_manifold_spectra",
    "draw_manifold_walks",
]
