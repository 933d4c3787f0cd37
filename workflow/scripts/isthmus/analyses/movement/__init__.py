"""How far training moves the weights, and how the tangent kernel changes."""
