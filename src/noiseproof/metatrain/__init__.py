"""Meta-training: gradient estimators and the outer loop."""

from noiseproof.metatrain.antithetic import Objective
from noiseproof.metatrain.es import es
from noiseproof.metatrain.gpes import nres, pes
from noiseproof.metatrain.tes import tes

ESTIMATORS = {"es": es, "tes": tes, "pes": pes, "nres": nres}
"""Builders of gradient estimators by name."""

__all__ = ["ESTIMATORS", "Objective", "es", "nres", "pes", "tes"]
