"""Statistics over a whole study: correlations, effects of the axes, saturation."""
