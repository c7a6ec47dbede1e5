"""Learned optimizers that train image classifiers to withstand corruptions they never saw.

The names in `PLACES` are loaded when they are first used, so that the command line answers at
once and records can be read where there is no JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseproof.corruptions import CORRUPTIONS, corrupt
    from noiseproof.optimizers.layout import layout_of
    from noiseproof.zoo import card, load

__version__ = "0.1.0"

__all__ = ["CORRUPTIONS", "__version__", "card", "corrupt", "layout_of", "load"]

PLACES = {
    "CORRUPTIONS": "noiseproof.corruptions",
    "card": "noiseproof.zoo",
    "corrupt": "noiseproof.corruptions",
    "layout_of": "noiseproof.optimizers.layout",
    "load": "noiseproof.zoo",
}


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"noiseproof has no {name}; it has {', '.join(__all__)}.")
    return getattr(importlib.import_module(PLACES[name]), name)
