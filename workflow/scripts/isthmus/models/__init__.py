"""Networks as functions of their weights: architectures, stacks, evaluation, permutations of hidden units."""
