"""Curvature of the training loss at the networks, and how the loss rises under noise."""
