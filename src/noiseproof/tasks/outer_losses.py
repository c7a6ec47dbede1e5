"""What can be meta-trained on: one noise, noise of random spectrum, or whole families.

An outer loss is a mixture of corruptions, and it says what it has seen, so that the evaluation
can tell what is truly held out. Noise of random spectrum shows no named corruption at all: from
white noise to slow shading and shifts of brightness it asks for what most of them need (for the
spectra of natural corruptions see Yin et al., arXiv 1906.08988).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from noiseproof.corruptions.families import FAMILY_OF
from noiseproof.corruptions.kernels.geometric import random_warp
from noiseproof.corruptions.kernels.noise import gaussian_noise, random_spectral_noise
from noiseproof.corruptions.suites import CORRUPTIONS
from noiseproof.tasks.meta_losses import Component, clean
from noiseproof.types import Image, ImageTransform

WARP_EXPONENTS = (2.0, 3.0)
"""Smooth enough that neighbors move alike: at 2 and more the greatest waves rule."""


class OuterLoss(NamedTuple):
    """A mixture, and what is known of it.

    Attributes:
        components: Its parts.
        words: The mixture in words, for records.
        seen: Names of the corruptions that are in it.
        families: Families of which something is in it, by name or as kin.
    """

    components: tuple[Component, ...]
    words: str
    seen: tuple[str, ...] = ()
    families: tuple[str, ...] = ()


def clean_images() -> OuterLoss:
    """Clean images alone: the control, which tells what the corrupted outer loss is good for."""
    return OuterLoss((Component(1.0, clean, "clean"),), "clean images")


def gaussian(*, std: float, clip: bool, clean_weight: float) -> OuterLoss:
    """White Gaussian noise of one scale.

    Args:
        std: Its standard deviation, in units of the pixel range.
        clip: Whether noisy pixels are clipped to [0, 1].
        clean_weight: Share of clean images, 0 to 1.
    """
    noisy = Component(1.0, gaussian_noise(std=std, clip=clip), "gaussian_noise")
    words = f"gaussian_noise std {std:g}"
    mixture = beside([noisy], clean_weight=clean_weight)
    return OuterLoss(mixture, words + share_words(clean_weight), ("gaussian_noise",), ("noise",))


def spectral(
    *,
    std_low: float,
    std_high: float,
    exponent_low: float,
    exponent_high: float,
    num_bands: int,
    clip: bool,
    clean_weight: float,
    warp_weight: float,
    warp_std: float,
) -> OuterLoss:
    """Gaussian noise of random spectrum, frequency^-exponent, and random scale.

    Args:
        std_low: Least standard deviation, in units of the pixel range.
        std_high: Greatest.
        exponent_low: Least exponent: 0 is white noise.
        exponent_high: Greatest: 3 is mostly a shift of brightness.
        num_bands: Parts of equal width that the exponents are cut into, a component each.
        clip: Whether noisy pixels are clipped to [0, 1].
        clean_weight: Share of clean images, 0 to 1.
        warp_weight: Share of smoothly warped images, 0 to 1.
        warp_std: Greatest standard deviation of their displacements, as a share of the image side;
            the least is 0.

    Raises:
        ValueError: There is no band, a range is not in order, or a share is out of range.
    """
    if num_bands < 1:
        raise ValueError(f"outer.num_bands must be positive, got {num_bands}.")
    edges = np.linspace(exponent_low, exponent_high, num_bands + 1).tolist()
    stds = (std_low, std_high)
    bands = [
        Component(
            1.0 / num_bands,
            random_spectral_noise(exponents=(low, high), stds=stds, clip=clip),
            f"spectral_noise_{low:g}_to_{high:g}",
        )
        for low, high in pairwise(edges)
    ]
    warp = random_warp(exponents=WARP_EXPONENTS, max_std=warp_std)
    warped = Component(1.0, warp, "smooth_warp")
    words = (
        f"spectral_noise exponent {exponent_low:g} to {exponent_high:g} "
        f"std {std_low:g} to {std_high:g}"
    )
    return OuterLoss(
        beside(bands, clean_weight=clean_weight, warp_weight=warp_weight, warped=warped),
        words + share_words(clean_weight, warp_weight),
        families=("noise", "geometric") if warp_weight else ("noise",),
    )


def families(*, names: Sequence[str], clean_weight: float) -> OuterLoss:
    """Named corruptions, each as often as any other, at random severities.

    Args:
        names: Keys of `CORRUPTIONS` that have a family.
        clean_weight: Share of clean images, 0 to 1.

    Raises:
        ValueError: No name is given, or the share is out of range.
    """
    if not names:
        raise ValueError("An outer loss of families needs a split: set split.held_out.")
    named = [Component(1.0 / len(names), random_severity(name), name) for name in names]
    return OuterLoss(
        beside(named, clean_weight=clean_weight),
        ", ".join(names) + share_words(clean_weight),
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
    clean_weight: float,
    warp_weight: float = 0.0,
    warped: Component | None = None,
) -> tuple[Component, ...]:
    """Components, whose weights add up to 1, with shares of clean and warped images beside them.

    Raises:
        ValueError: The shares are negative, or more than all.
    """
    for name, share in (("clean", clean_weight), ("warp", warp_weight)):
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"outer.{name}_weight must lie in [0, 1], got {share}.")
    rest = 1.0 - clean_weight - warp_weight
    if rest < 0:
        raise ValueError(
            "outer.clean_weight and outer.warp_weight must add up to at most 1, got "
            f"{clean_weight + warp_weight:g}."
        )
    parts = [part._replace(weight=part.weight * rest) for part in components]
    if warped is not None:
        parts.append(warped._replace(weight=warp_weight))
    parts.append(Component(clean_weight, clean, "clean"))
    return tuple(part for part in parts if part.weight > 0)


def relative_to(loss: OuterLoss, references: Mapping[str, float]) -> OuterLoss:
    """The outer loss with the loss of each component taken relative to its reference, in nats.

    Raises:
        ValueError: References are given, but not for exactly the components that there are.
    """
    names = [component.name for component in loss.components]
    if not references:
        return loss
    if set(references) != set(names):
        raise ValueError(
            f"outer.references must name {', '.join(names)}, got {', '.join(references)}."
        )
    parts = (part._replace(reference=float(references[part.name])) for part in loss.components)
    return loss._replace(components=tuple(parts))


def share_words(clean_weight: float, warp_weight: float = 0.0) -> str:
    """The shares of clean and warped images in words, where there are any."""
    shares = {"clean": clean_weight, "warped": warp_weight}
    words = ", ".join(f"{share:.0%} {name}" for name, share in shares.items() if share)
    return f" ({words})" if words else ""


OUTER_LOSSES: dict[str, Callable[..., OuterLoss]] = {
    "clean": clean_images,
    "gaussian": gaussian,
    "spectral": spectral,
    "families": families,
}
"""Builders of outer losses by name."""
