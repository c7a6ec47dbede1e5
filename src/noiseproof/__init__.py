"""Learned optimizers that train image classifiers to withstand corruptions they never saw."""

__version__ = "0.1.0"
