"""Paths between pairs of networks: straight lines, aligned lines and curves of low loss."""
