"""Stability to SGD noise, from several steps of training."""
