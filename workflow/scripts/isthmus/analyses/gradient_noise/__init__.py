"""How noisy the gradients of single examples are, and how much the loss curves along their noise."""
