"""Alignment of hidden units: by weights, by activations, and the choice of the better one."""
