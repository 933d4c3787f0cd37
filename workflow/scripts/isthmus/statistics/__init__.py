"""Intervals, tests and contrasts for the numbers in the tables."""
