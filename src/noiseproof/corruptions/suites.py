"""Which corruptions there are: names, constants, families and splits.

The keys without a prefix are CIFAR-10-C's (D. Hendrycks and T. Dietterich, 2019, arXiv
1903.12261) with the constants of the original 32-pixel script. At other sizes, lengths that the
script writes as shares of the image side scale with the side, those that it writes in pixels stay
in pixels.
"""

from noiseproof.corruptions import noise
from noiseproof.corruptions.severity import NamedCorruption, graded

CORRUPTIONS: dict[str, NamedCorruption] = {
    "gaussian_noise": graded(noise.add_gaussian_noise, std=(0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": graded(
        noise.add_shot_noise, differentiable=False, photons=(500.0, 250.0, 100.0, 75.0, 50.0)
    ),
    "impulse_noise": graded(noise.add_impulse_noise, share=(0.01, 0.02, 0.03, 0.05, 0.07)),
    "speckle_noise": graded(noise.add_speckle_noise, std=(0.06, 0.10, 0.12, 0.16, 0.20)),
}
"""Corruptions by name, each called as `(image, severity, key) -> image`."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
}
"""The families, fixed; counts over corruptions are over this list."""
