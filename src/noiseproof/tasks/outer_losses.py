"""What can be meta-trained on: one noise, noise of random spectrum, or whole families.

An outer loss is a mixture of corruptions, and it says what it has seen, so that the evaluation
can tell what is truly held out. Noise of random spectrum shows no named corruption at all: from
white noise to slow shading and shifts of brightness it asks for what most of them need (for the
spectra of natural corruptions see Yin et al., arXiv 1906.08988).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from noiseproof.corruptions.families import FAMILY_OF, SPLITS, for_channels
from noiseproof.corruptions.kernels.geometric import random_warp
from noiseproof.corruptions.kernels.noise import gaussian_noise, random_spectral_noise
from noiseproof.corruptions.suites import CORRUPTIONS
from noiseproof.messages import did_you_mean, short
from noiseproof.tasks.mixtures import Component
from noiseproof.tasks.mixtures import clean as unchanged
from noiseproof.types import Image, ImageTransform

MOST_BANDS = 16

WARP_EXPONENTS = (2.0, 3.0)
"""Smooth enough that neighbors move alike: at 2 and more the greatest waves rule."""


class OuterLoss(NamedTuple):
    """A mixture, and what is known of it.

    Attributes:
        components: Its parts.
        words: The mixture in words, for records.
        seen: Names of the corruptions that are in it.
        families: Families of which something is in it, by name or as kin.
        noise_std: Greatest standard deviation of its noise, in units of the pixel range; 0 without.
    """

    components: tuple[Component, ...]
    words: str
    seen: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    noise_std: float = 0.0


def mixture(*components: Component, words: str = "a mixture") -> OuterLoss:
    """One's own components, by their weights.

    Args:
        components: The parts; of families that the package does not know, so that all named
            corruptions count as held out.
        words: The mixture in words, for records.
    """
    named = (
        part if part.name else part._replace(name=f"part_{index}")
        for index, part in enumerate(components)
    )
    return OuterLoss(tuple(named), words)


def clean_images() -> OuterLoss:
    """Clean images alone: the control, which tells what the corrupted outer loss is good for."""
    return OuterLoss((Component(1.0, unchanged, "clean"),), "clean images")


def gaussian(*, std: float = 0.5, clean: float = 0.65) -> OuterLoss:
    """White Gaussian noise of one scale, unclipped.

    Args:
        std: Standard deviation of the noise, in units of the pixel range; positive.
        clean: Share of clean images, 0 to 1.

    Raises:
        ValueError: The standard deviation is not positive, or the share is out of range.
    """
    if not std > 0:
        raise ValueError(f"std must be positive, got {std}.")
    noisy = Component(1.0, gaussian_noise(std=std, clip=False), "gaussian_noise")
    words = f"gaussian_noise std {std:g}" + share_words(clean)
    return OuterLoss(beside([noisy], clean=clean), words, ("gaussian_noise",), ("noise",), std)


def spectral_noise(
    *,
    std: tuple[float, float] = (0.05, 0.3),
    exponent: tuple[float, float] = (0.0, 3.0),
    num_bands: int = 3,
    clean: float = 0.5,
    warped: float = 0.35,
    warp_std: float = 0.1,
) -> OuterLoss:
    """Gaussian noise of random spectrum, frequency^-exponent, and random scale, unclipped.

    Args:
        std: Least and greatest standard deviation of the noise, in units of the pixel range;
            positive.
        exponent: Least and greatest exponent: 0 is white noise, 3 mostly a shift of brightness.
        num_bands: Parts of equal width that the exponents are cut into, a component each; 1 to 16.
        clean: Share of clean images, 0 to 1.
        warped: Share of smoothly warped images, 0 to 1.
        warp_std: Greatest standard deviation of the displacements of warps, as a share of the image
            side, above 0 and at most 1; each image draws its own between 0 and this.

    Raises:
        ValueError: A number or a share is out of range, or a range is not in order.
    """
    if not 1 <= num_bands <= MOST_BANDS:
        raise ValueError(f"num_bands must lie in [1, {MOST_BANDS}], got {num_bands}.")
    for name, (least, greatest) in {"std": std, "exponent": exponent}.items():
        if not least <= greatest:
            raise ValueError(f"{name} must rise from least to greatest, got {least} to {greatest}.")
    edges = np.linspace(*exponent, num_bands + 1).tolist()
    bands = [
        Component(
            1.0 / num_bands,
            random_spectral_noise(exponents=(low, high), stds=std, clip=False),
            f"spectral_noise_{low:g}_to_{high:g}",
        )
        for low, high in pairwise(edges)
    ]
    warp = random_warp(exponents=WARP_EXPONENTS, max_std=warp_std)
    words = (
        f"spectral_noise exponent {exponent[0]:g} to {exponent[1]:g} std {std[0]:g} to {std[1]:g}"
    )
    return OuterLoss(
        beside(bands, clean=clean, warped=warped, warp=Component(1.0, warp, "smooth_warp")),
        words + share_words(clean, warped),
        families=("noise", "geometric") if warped else ("noise",),
        noise_std=std[1],
    )


def families(*, fold: str, clean: float = 0.25, num_channels: int) -> OuterLoss:
    """The named corruptions that a split meta-trains on, alike often, at random severities.

    Args:
        fold: The fold that is held out: a key of `corruptions.SPLITS`.
        clean: Share of clean images, 0 to 1.
        num_channels: Of the images: what needs color is left out of gray ones.

    Raises:
        ValueError: There is no such split, or the share is out of range.
    """
    if fold not in SPLITS:
        raise ValueError(
            f"fold must be one of {', '.join(SPLITS)}, got {short(fold)}."
            + did_you_mean(fold, SPLITS)
        )
    return named_corruptions(*for_channels(SPLITS[fold].meta_train, num_channels), clean=clean)


def named_corruptions(*names: str, clean: float = 0.25) -> OuterLoss:
    """Named corruptions, alike often, at random severities.

    Args:
        names: Keys of `CORRUPTIONS` that have a family.
        clean: Share of clean images, 0 to 1.

    Raises:
        ValueError: There is no name, or an unknown one, or the share is out of range.
    """
    for name in names or ("",):
        if name not in FAMILY_OF:
            raise ValueError(
                f"names must be among {', '.join(FAMILY_OF)}, got {short(name)}."
                + did_you_mean(name, FAMILY_OF)
            )
    named = [Component(1.0 / len(names), random_severity(name), name) for name in names]
    return OuterLoss(
        beside(named, clean=clean),
        ", ".join(names) + share_words(clean),
        tuple(names),
        tuple(dict.fromkeys(FAMILY_OF[name] for name in names)),
    )


def random_severity(name: str) -> ImageTransform:
    """A named corruption whose severity, 1 to 5 and between, every image draws, evenly."""

    def transform(image: Image, key: PRNGKeyArray) -> Image:
        severity_key, corrupt_key = jax.random.split(key)
        severity = jax.random.uniform(severity_key, minval=1.0, maxval=5.0)
        return CORRUPTIONS[name](image, severity, corrupt_key)

    return transform


def beside(
    components: Sequence[Component],
    *,
    clean: float,
    warped: float = 0.0,
    warp: Component | None = None,
) -> tuple[Component, ...]:
    """Components, whose weights add up to 1, with shares of clean and warped images beside them.

    Raises:
        ValueError: The shares are negative, or more than all.
    """
    for name, share in (("clean", clean), ("warped", warped)):
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"{name} must lie in [0, 1], got {share}.")
    rest = 1.0 - clean - warped
    if rest < 0:
        raise ValueError(f"clean and warped must add up to at most 1, got {clean + warped:g}.")
    parts = [part._replace(weight=part.weight * rest) for part in components]
    if warp is not None:
        parts.append(warp._replace(weight=warped))
    parts.append(Component(clean, unchanged, "clean"))
    return tuple(part for part in parts if part.weight > 0)


def share_words(clean: float, warped: float = 0.0) -> str:
    """The shares of clean and warped images in words, where there are any."""
    shares = {"clean": clean, "warped": warped}
    words = ", ".join(f"{share:.0%} {name}" for name, share in shares.items() if share)
    return f" ({words})" if words else ""


OUTER_LOSSES: dict[str, Callable[..., OuterLoss]] = {
    "clean": clean_images,
    "gaussian": gaussian,
    "spectral": spectral_noise,
    "families": families,
}
"""Builders of outer losses by name."""
