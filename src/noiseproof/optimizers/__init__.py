"""What trains a classifier: learned rules and hand-designed rivals."""

from noiseproof.optimizers.adafac_mlp import adafac_mlp
from noiseproof.optimizers.mlp import mlp
from noiseproof.optimizers.nominal_mlp import nominal_mlp
from noiseproof.optimizers.structured import structured
from noiseproof.optimizers.universal import universal

LEARNED_OPTIMIZERS = {
    "adafac_mlp": adafac_mlp,
    "mlp": mlp,
    "nominal_mlp": nominal_mlp,
    "structured": structured,
    "universal": universal,
}
"""Builders of learned optimizers by name."""

__all__ = ["LEARNED_OPTIMIZERS", "adafac_mlp", "mlp", "nominal_mlp", "structured", "universal"]
