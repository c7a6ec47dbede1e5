"""Meta-training: gradient estimators and the outer loop."""

from noiseproof.metatrain.antithetic import Objective
from noiseproof.metatrain.backprop import full_backprop, truncated_backprop
from noiseproof.metatrain.es import es
from noiseproof.metatrain.gpes import nres, pes
from noiseproof.metatrain.joint import joint_estimator, joint_objective
from noiseproof.metatrain.mixed import mixed
from noiseproof.metatrain.reparametrized import reparametrized
from noiseproof.metatrain.run_lengths import RUN_LENGTHS
from noiseproof.metatrain.tes import tes

ESTIMATORS = {
    "es": es,
    "tes": tes,
    "pes": pes,
    "nres": nres,
    "truncated_backprop": truncated_backprop,
    "full_backprop": full_backprop,
    "mixed": mixed,
}
"""Builders of gradient estimators by name."""

__all__ = [
    "ESTIMATORS",
    "RUN_LENGTHS",
    "Objective",
    "es",
    "full_backprop",
    "joint_estimator",
    "joint_objective",
    "mixed",
    "nres",
    "pes",
    "reparametrized",
    "tes",
    "truncated_backprop",
]
