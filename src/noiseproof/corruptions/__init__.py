"""Corruptions of images: pure functions of one image, a severity and a key.

`corrupt` applies one by name to an image or a batch. `CORRUPTIONS` holds them all, each a function
of one image that can be vmapped, jitted and mostly differentiated; `FAMILIES` says which belong
together. `gaussian_noise` builds one of a free strength.
"""

from noiseproof.corruptions.apply import corrupt
from noiseproof.corruptions.families import FAMILIES, SPLITS, Split
from noiseproof.corruptions.kernels.noise import gaussian_noise
from noiseproof.corruptions.severity import NamedCorruption
from noiseproof.corruptions.suites import CORRUPTIONS
from noiseproof.numerics.levels import quantized

__all__ = [
    "CORRUPTIONS",
    "FAMILIES",
    "SPLITS",
    "NamedCorruption",
    "Split",
    "corrupt",
    "gaussian_noise",
    "quantized",
]
