"""Learned optimizers that ship with the package, and those that a user meta-trained."""

from noiseproof.zoo.loading import Loaded, card, load, load_learned, shipped_names

__all__ = ["Loaded", "card", "load", "load_learned", "shipped_names"]
