"""What can be permuted in any module: dimensions of tensors, a rule for each operation, the groups that follow."""
