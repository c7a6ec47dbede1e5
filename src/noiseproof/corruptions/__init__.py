"""Corruptions of images: pure functions of one image, a severity and a key.

`corrupt` applies one by name to an image or a batch, `corrupt_mixed` several to one batch;
`CORRUPTIONS` holds them all, each a function of one image that can be vmapped, jitted and mostly
differentiated; `FAMILIES` says which belong together. `SEQUENCES` turns one image into many
frames. `gaussian_noise` and its like build corruptions of one free strength.
"""

from noiseproof.corruptions.apply import corrupt
from noiseproof.corruptions.families import FAMILIES, SPLITS, Split
from noiseproof.corruptions.kernels.noise import gaussian_noise, spectral_noise
from noiseproof.corruptions.mixing import corrupt_mixed
from noiseproof.corruptions.numerics.levels import quantized
from noiseproof.corruptions.sequences import SEQUENCES
from noiseproof.corruptions.severity import NamedCorruption
from noiseproof.corruptions.suites import CORRUPTIONS

__all__ = [
    "CORRUPTIONS",
    "FAMILIES",
    "SEQUENCES",
    "SPLITS",
    "NamedCorruption",
    "Split",
    "corrupt",
    "corrupt_mixed",
    "gaussian_noise",
    "quantized",
    "spectral_noise",
]
