"""What an evaluation tests on, and what each condition is to the learned optimizer."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from noiseproof.evaluate.suites import (
    TestSet,
    named_corruptions,
    named_roles,
    noise_scales,
    scale_role,
)
from noiseproof.messages import did_you_mean, short
from noiseproof.results import Role
from noiseproof.tasks.outer_losses import OuterLoss

DEVELOPMENT_ROLES = ("meta_train", "validation")
"""What rules are developed on: named corruptions of other roles are for `test` alone."""


class Conditions(NamedTuple):
    """Conditions of an evaluation.

    Attributes:
        roles: What each noise scale or named corruption is to the optimizer.
        test_sets: `(split, report) -> list of TestSet`, the images under every condition, always
            the same; `report(done, total)`, which may be left out, is told of those that are made.
    """

    roles: Mapping[Any, Role]
    test_sets: Callable[..., list[TestSet]]


def scales_of_noise(
    *,
    strengths: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0),
    outer_loss: OuterLoss,
) -> Conditions:
    """Clean images and Gaussian noise of several scales.

    Args:
        strengths: Standard deviations of the noise, in units of the pixel range; positive.
        outer_loss: What the optimizer was meta-trained on.

    Raises:
        ValueError: There is no scale, or one that is not positive.
    """
    if not strengths or not min(strengths) > 0:
        raise ValueError(f"strengths must be positive noise scales, got {short(strengths)}.")
    roles: dict[float, Role] = {s: scale_role(s, outer_loss) for s in strengths}
    return Conditions(roles, partial(noise_scales, roles=roles))


def named(
    *,
    corruptions: tuple[str, ...] = (),
    validation: tuple[str, ...] = ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
    developing: bool = False,
    outer_loss: OuterLoss,
    num_channels: int,
) -> Conditions:
    """Clean images, what the outer loss was seen to be, and named corruptions by severity.

    Args:
        corruptions: Names of the corruptions to test on; empty for all that fit the images.
        validation: Corruptions that rules were developed on, reported apart.
        developing: Whether what is held out is left out, since a rule is being developed.
        outer_loss: What the optimizer was meta-trained on.
        num_channels: Of the images.

    Raises:
        ValueError: There is no such corruption.
    """
    known = named_roles(outer_loss, num_channels, validation=validation)
    for name in corruptions:
        if name not in known:
            raise ValueError(
                f"corruptions must be among {', '.join(known)}, got {short(name)}."
                + did_you_mean(name, known)
            )
    chosen: dict[str, Role] = {name: known[name] for name in corruptions or known}
    if developing:
        chosen = {name: role for name, role in chosen.items() if role in DEVELOPMENT_ROLES}
    return Conditions(chosen, partial(named_corruptions, outer_loss=outer_loss, roles=chosen))


CONDITIONS: dict[str, Callable[..., Conditions]] = {
    "noise_scales": scales_of_noise,
    "named": named,
}
"""Builders of conditions by name."""
