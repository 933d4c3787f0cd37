"""Summaries: the mean of every quantity over the networks of each cell, which figures draw."""
