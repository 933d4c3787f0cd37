"""Training networks: one loop, its optimizers, checkpoints and tables."""
