"""What trains a classifier: learned rules and hand-designed rivals."""

from noiseproof.optimizers.nominal_mlp import nominal_mlp

LEARNED_OPTIMIZERS = {"nominal_mlp": nominal_mlp}
"""Builders of learned optimizers by name."""

__all__ = ["LEARNED_OPTIMIZERS", "nominal_mlp"]
