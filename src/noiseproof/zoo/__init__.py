"""Learned optimizers that ship with the package, and those that a user meta-trained."""

from noiseproof.published import shipped_names
from noiseproof.zoo.loading import Loaded, card, load, load_learned

__all__ = ["Loaded", "card", "load", "load_learned", "shipped_names"]
