"""Learned optimizers that ship with the package, and those that a user meta-trained."""

from noiseproof.published import shipped_names
from noiseproof.zoo.cards import Card, in_a_line
from noiseproof.zoo.loading import Loaded, card, load, load_learned, recipe
from noiseproof.zoo.publishing import publish

__all__ = [
    "Card",
    "Loaded",
    "card",
    "in_a_line",
    "load",
    "load_learned",
    "publish",
    "recipe",
    "shipped_names",
]
