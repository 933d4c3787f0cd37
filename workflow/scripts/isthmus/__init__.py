"""Isthmus: how overparameterization shapes the loss landscape of neural networks.

The library behind the workflow. It does not depend on Snakemake. Each module imports only what it needs, so reading a
configuration or drawing a figure does not import torch. Every module starts with a paragraph that says what it is for.
"""
