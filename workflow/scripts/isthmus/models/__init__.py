"""Networks as functions of their weights: architectures, stacks, evaluation, pruning masks, unit permutations."""
