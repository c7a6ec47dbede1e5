"""What classifiers are tested on: scales of one noise, or every named corruption by severity.

Images are corrupted once, under one seed of this package, so that every optimizer, seed and run
sees the same. What a condition is to the learned optimizer, its role, follows from what the outer
loss has seen: a corruption of a family with something seen is kin and not held out.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PRNGKeyArray

from noiseproof.corruptions.apply import corrupt
from noiseproof.corruptions.families import FAMILY_OF, for_channels
from noiseproof.corruptions.kernels.noise import gaussian_noise
from noiseproof.corruptions.keys import name_key
from noiseproof.corruptions.severity import NUM_SEVERITIES
from noiseproof.corruptions.suites import CORRUPTIONS
from noiseproof.data.dataset import take
from noiseproof.messages import did_you_mean, short
from noiseproof.numerics.compiling import quickly_compiled
from noiseproof.results import Role
from noiseproof.tasks.image_classification import to_float
from noiseproof.tasks.outer_losses import OuterLoss
from noiseproof.types import Batch, ImageTransform

TEST_SEED = 0
"""Seed of the corrupted test images: the same for every run of an experiment."""


Report: TypeAlias = Callable[[int, int], None]
"""`(conditions done, conditions in all)`, called as images are corrupted."""


class TestSet(NamedTuple):
    """Test images under one condition; the fields are those of the records, then the images."""

    __test__ = False  # not a test case

    corruption: str
    family: str
    severity: int | None
    strength: float | None
    role: Role
    batch: Batch


def few(split: Batch, num_images: int) -> Batch:
    """So many images of a split, drawn once and the same for all; 0 for the whole split."""
    if not 0 < num_images < len(split.labels):
        return split
    return take(split, chosen_images(len(split.labels), num_images))


def chosen_images(num_all: int, num_images: int) -> Int[np.ndarray, " chosen"]:
    """The places of so many of all images, in order; 0 for all."""
    if not 0 < num_images < num_all:
        return np.arange(num_all)
    # The stream of RandomState is frozen, so that the choice outlives numpy's releases.
    return np.sort(np.random.RandomState(TEST_SEED).permutation(num_all)[:num_images])


def corrupted(split: Batch, transform: ImageTransform, key: PRNGKeyArray) -> Batch:
    """Every image of a split, corrupted once, as floats."""
    images = to_float(jnp.asarray(split.images))
    keys = jax.random.split(key, images.shape[0])
    return Batch(quickly_compiled(jax.vmap(transform))(images, keys), jnp.asarray(split.labels))


def clean_set(split: Batch) -> TestSet:
    """The images as they are."""
    return TestSet("none", "none", None, 0.0, "clean", split)


def silent(_done: int, _total: int) -> None:
    """Tells nobody."""


def noise_scales(
    split: Batch, report: Report = silent, *, roles: Mapping[float, Role]
) -> list[TestSet]:
    """Clean images, and the same under unclipped Gaussian noise of several scales.

    Args:
        split: Images to corrupt.
        report: Told of the scales that are done.
        roles: What each standard deviation is to the optimizer, see `scale_role`.
    """
    sets = [clean_set(split)]
    for strength, role in roles.items():
        key = jax.random.fold_in(jax.random.key(TEST_SEED), round(strength * 1000))
        noisy = corrupted(split, gaussian_noise(std=strength, clip=False), key)
        sets.append(TestSet("gaussian_noise", "noise", None, strength, role, noisy))
        report(len(sets) - 1, len(roles))
    return sets


def scale_role(strength: float, outer_loss: OuterLoss) -> Role:
    """What noise of a scale is: seen, of another scale than seen, or kin of other noise seen."""
    if outer_loss.seen == ("gaussian_noise",):
        return "meta_train" if strength == outer_loss.noise_std else "held_out"
    return "kin" if "noise" in outer_loss.families else "held_out"


def named_corruptions(
    split: Batch,
    report: Report = silent,
    *,
    outer_loss: OuterLoss,
    roles: Mapping[str, Role],
) -> list[TestSet]:
    """Clean images, what an outer loss of no names was seen to be, and named corruptions.

    Args:
        split: Images to corrupt.
        report: Told of the named ones that are done, a corruption at a severity each.
        outer_loss: What was meta-trained on.
        roles: The corruptions to test on, and what each is, see `named_roles`.
    """
    sets = [clean_set(split)]
    for part in outer_loss.components:
        if part.name not in (*CORRUPTIONS, "clean"):
            family = "noise" if "noise" in part.name else "geometric"
            key = name_key(part.name, jax.random.key(TEST_SEED))
            images = corrupted(split, part.transform, key)
            sets.append(TestSet(part.name, family, None, None, "meta_train", images))
    num_before, severities = len(sets), range(1, NUM_SEVERITIES + 1)

    def by_severity(name: str) -> list[np.ndarray]:
        return [np.asarray(corrupt(split.images, name, one, TEST_SEED)) for one in severities]

    # Most of it is compiling a program for each name, which takes one core each.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (name, role), images in zip(roles.items(), pool.map(by_severity, roles), strict=True):
            for severity, own in zip(severities, images, strict=True):
                batch = Batch(own, split.labels)
                sets.append(TestSet(name, FAMILY_OF[name], severity, None, role, batch))
                report(len(sets) - num_before, len(roles) * NUM_SEVERITIES)
    return sets


def named_roles(
    outer_loss: OuterLoss, num_channels: int, *, validation: Sequence[str]
) -> dict[str, Role]:
    """What every corruption of a family is to an optimizer, of those that fit the images.

    Args:
        outer_loss: What was meta-trained on.
        num_channels: Of the images.
        validation: Corruptions that rules were developed on.

    Raises:
        ValueError: One of them has no family.
    """
    for name in validation:
        if name not in FAMILY_OF:
            raise ValueError(
                f"conditions.validation must name corruptions, got {short(name)}."
                + did_you_mean(name, FAMILY_OF)
            )

    def role(name: str) -> Role:
        if name in outer_loss.seen:
            return "meta_train"
        if name in validation:
            return "validation"
        return "kin" if FAMILY_OF[name] in outer_loss.families else "held_out"

    return {name: role(name) for name in for_channels(tuple(FAMILY_OF), num_channels)}
