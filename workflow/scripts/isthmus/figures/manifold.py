"""The figures of the zero set of the loss, by name: each in a module of its own, but for counts and spectra."""

from isthmus.figures.manifold_boundary import draw_manifold_boundary
from isthmus.figures.manifold_counts import draw_manifold_counts, draw_manifold_spectra
from isthmus.figures.manifold_outliers import draw_manifold_outliers
from isthmus.figures.manifold_walks import draw_manifold_walks

__all__ = [
    "draw_manifold_boundary",
    "draw_manifold_counts",
    "draw_manifold_outliers",
    "draw_manifold_spectra",
    "draw_manifold_walks",
]
