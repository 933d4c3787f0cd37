"""The configuration: its schema, its checks, its grid of cells, and what the workflow asks about them."""
