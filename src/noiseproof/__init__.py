"""Learned optimizers that train image classifiers to withstand corruptions they never saw.

    import noiseproof as npf

The names in `PLACES` are loaded when they are first used, so that the command line answers at
once and records can be read where there is no JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseproof.corruptions import CORRUPTIONS, FAMILIES, corrupt
    from noiseproof.data import load_dataset
    from noiseproof.experiment.build import build_experiment
    from noiseproof.experiment.python import compare, meta_train, objective
    from noiseproof.experiment.reading import load_preset
    from noiseproof.experiment.running import run_experiment
    from noiseproof.experiment.study import study
    from noiseproof.layouts.layout import layout_of
    from noiseproof.metatrain.builders import (
        es,
        full_backprop,
        inverse_variance_mixture,
        nres,
        pes,
        truncated_backprop,
        truncated_es,
    )
    from noiseproof.models import MODELS
    from noiseproof.optimizers import (
        LEARNED_OPTIMIZERS,
        adafac_mlp,
        nominal_mlp,
        structured,
        universal,
    )
    from noiseproof.rivals import RIVALS
    from noiseproof.studies.rule import explain
    from noiseproof.tasks.image_classification import image_classification
    from noiseproof.tasks.mixtures import Component
    from noiseproof.tasks.outer_losses import (
        clean_images,
        families,
        gaussian,
        mixture,
        named_corruptions,
        spectral_noise,
    )
    from noiseproof.types import LearnedOptimizer, Model, Recipe, Task, TensorRole
    from noiseproof.zoo import card, load, recipe

__version__ = "0.1.0"

PLACES = {
    **dict.fromkeys(["CORRUPTIONS", "FAMILIES", "corrupt"], "corruptions"),
    "load_dataset": "data",
    **dict.fromkeys(["compare", "meta_train", "objective"], "experiment.python"),
    "build_experiment": "experiment.build",
    "load_preset": "experiment.reading",
    "run_experiment": "experiment.running",
    "study": "experiment.study",
    **dict.fromkeys(["es", "truncated_es", "pes", "nres"], "metatrain.builders"),
    **dict.fromkeys(
        ["full_backprop", "truncated_backprop", "inverse_variance_mixture"], "metatrain.builders"
    ),
    "MODELS": "models",
    **dict.fromkeys(
        ["LEARNED_OPTIMIZERS", "adafac_mlp", "nominal_mlp", "structured", "universal"],
        "optimizers",
    ),
    "layout_of": "layouts.layout",
    "RIVALS": "rivals",
    "explain": "studies.rule",
    "image_classification": "tasks.image_classification",
    "Component": "tasks.mixtures",
    **dict.fromkeys(
        [
            "clean_images",
            "families",
            "gaussian",
            "mixture",
            "named_corruptions",
            "spectral_noise",
        ],
        "tasks.outer_losses",
    ),
    **dict.fromkeys(["LearnedOptimizer", "Model", "Recipe", "Task", "TensorRole"], "types"),
    **dict.fromkeys(["card", "load", "recipe"], "zoo"),
}
"""The public names, and the module of this package that each is in."""

__all__ = [
    "CORRUPTIONS",
    "FAMILIES",
    "LEARNED_OPTIMIZERS",
    "MODELS",
    "RIVALS",
    "Component",
    "LearnedOptimizer",
    "Model",
    "Recipe",
    "Task",
    "TensorRole",
    "__version__",
    "adafac_mlp",
    "build_experiment",
    "card",
    "clean_images",
    "compare",
    "corrupt",
    "es",
    "explain",
    "families",
    "full_backprop",
    "gaussian",
    "image_classification",
    "inverse_variance_mixture",
    "layout_of",
    "load",
    "load_dataset",
    "load_preset",
    "meta_train",
    "mixture",
    "named_corruptions",
    "nominal_mlp",
    "nres",
    "objective",
    "pes",
    "recipe",
    "run_experiment",
    "spectral_noise",
    "structured",
    "study",
    "truncated_backprop",
    "truncated_es",
    "universal",
]


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"noiseproof has no {name}; it has {', '.join(__all__)}.")
    try:
        return getattr(importlib.import_module(f"noiseproof.{PLACES[name]}"), name)
    except ModuleNotFoundError as error:
        from noiseproof.extras import missing

        raise ImportError(missing(error, f"noiseproof.{name}")) from error


def __dir__() -> list[str]:
    return sorted(__all__)
