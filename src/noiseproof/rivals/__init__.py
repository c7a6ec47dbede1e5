"""Hand-designed recipes: what learned optimizers are compared with."""

from noiseproof.rivals.ranges import RIVALS, Rival

__all__ = ["RIVALS", "Rival"]
