"""The figures of the zero set of the loss."""

from isthmus.figures.manifold_coefficients import draw_manifold_coefficients as draw_manifold_coefficients
from isthmus.figures.manifold_networks import draw_manifold_boundary as draw_manifold_boundary
from isthmus.figures.manifold_networks import draw_manifold_counts as draw_manifold_counts
from isthmus.figures.manifold_networks import draw_manifold_spectra as draw_manifold_spectra
from isthmus.figures.manifold_outliers import draw_manifold_outliers as draw_manifold_outliers
from isthmus.figures.manifold_walks import draw_manifold_walks as draw_manifold_walks
