"""Lottery tickets: iterative pruning with rewinding, and its controls."""
