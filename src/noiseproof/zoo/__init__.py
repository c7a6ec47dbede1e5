"""Learned optimizers that ship with the package, and those that a user meta-trained."""

from noiseproof.zoo.loading import Loaded, load, load_learned, shipped_names

__all__ = ["Loaded", "load", "load_learned", "shipped_names"]
