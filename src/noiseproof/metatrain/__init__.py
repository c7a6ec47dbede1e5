"""Meta-training: gradient estimators and the outer loop."""

from noiseproof.inner_loop import Window
from noiseproof.metatrain.backprop import full_backprop, truncated_backprop
from noiseproof.metatrain.es import es
from noiseproof.metatrain.flat import flattened
from noiseproof.metatrain.gpes import nres, pes
from noiseproof.metatrain.joint import joint
from noiseproof.metatrain.mixed import mixed
from noiseproof.metatrain.objective import Objective, recipe_by, recipe_of
from noiseproof.metatrain.outer_loop import Plan, meta_train
from noiseproof.metatrain.reparametrized import reparametrized
from noiseproof.metatrain.run_lengths import RUN_LENGTHS
from noiseproof.metatrain.sharding import Placement
from noiseproof.metatrain.target import Target, target_of
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
    "Placement",
    "Plan",
    "Target",
    "Window",
    "es",
    "flattened",
    "full_backprop",
    "joint",
    "meta_train",
    "mixed",
    "nres",
    "pes",
    "recipe_by",
    "recipe_of",
    "reparametrized",
    "target_of",
    "tes",
    "truncated_backprop",
]
