"""How degenerate the loss is around trained networks."""
