"""Isthmus: how overparameterization shapes the loss landscape of neural networks.

The library behind the workflow. It knows nothing of Snakemake, and a module imports only what it needs, so that
reading a configuration or drawing a figure does not import torch. Every module says at its head what it is for.
"""

__version__ = "0.1.0"
