"""How noisy the gradients of single examples are, and how their noise lies to the curvature."""
