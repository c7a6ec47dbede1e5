"""What classifiers are tested on, from the settings, and what may not be called held out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from noiseproof.corruptions import FAMILIES
from noiseproof.data import Dataset, image_shape
from noiseproof.evaluate.suites import SUITES, TestSet, few, named_roles, scale_role
from noiseproof.experiment.problem import Problem, build_outer_loss
from noiseproof.experiment.settings import Config
from noiseproof.results import Role
from noiseproof.tasks.outer_losses import OuterLoss
from noiseproof.types import Batch

DEVELOPMENT_ROLES = ("meta_train", "validation")
"""What rules are developed on: named corruptions of other roles are for `test` alone."""


def condition_roles(config: Config, outer_loss: OuterLoss, num_channels: int) -> Mapping[Any, Role]:
    """What every noise scale or named corruption of the evaluation is to an outer loss.

    Raises:
        ValueError: There is no such suite, or a corruption is unknown.
    """
    wanted = config.evaluation
    if wanted.suite not in SUITES:
        raise ValueError(
            f"evaluation.suite must be one of {', '.join(SUITES)}, got {wanted.suite}."
        )
    if wanted.suite == "noise_scales":
        std = config.outer.std
        return {strength: scale_role(strength, outer_loss, std) for strength in wanted.strengths}
    left_out = [name for family in config.split.left_out for name in FAMILIES[family]]
    validation = (*wanted.validation, *left_out)
    roles = named_roles(outer_loss, num_channels, validation=validation)
    for name in wanted.corruptions:
        if name not in roles:
            raise ValueError(
                f"evaluation.corruptions must be among {', '.join(roles)}, got {name}."
            )
    chosen = wanted.corruptions or tuple(roles)
    if wanted.split == "select":
        chosen = tuple(name for name in chosen if roles[name] in DEVELOPMENT_ROLES)
    return {name: roles[name] for name in chosen}


def check_conditions(config: Config, problem: Problem, meta_trained: Config | None = None) -> None:
    """Makes sure that what the evaluation holds out was held out.

    Args:
        config: The settings.
        problem: What they stand for.
        meta_trained: The settings that theta was meta-trained with, where they are others.

    Raises:
        ValueError: A setting is unknown, nothing is held out, or what is was meta-trained on.
    """
    wanted, num_channels = config.evaluation, image_shape(problem.dataset)[2]
    if wanted.split not in ("test", "select"):
        raise ValueError(f"evaluation.split must be test or select, got {wanted.split}.")
    if wanted.num_images < 0:
        raise ValueError(f"evaluation.num_images must not be negative, got {wanted.num_images}.")
    roles = condition_roles(config, problem.outer_loss, num_channels)
    if wanted.split == "test" and "held_out" not in roles.values():
        raise ValueError(
            "The evaluation must hold something out, but all of it was meta-trained on or "
            f"developed on: {', '.join(map(str, roles))}."
        )
    if meta_trained is not None:
        seen = build_outer_loss(meta_trained, num_channels)
        # The scale that counts as seen is the one that theta saw.
        outer = replace(config.outer, std=meta_trained.outer.std)
        before = condition_roles(replace(config, outer=outer), seen, num_channels)
        wrong = [str(c) for c in roles if roles[c] == "held_out" != before.get(c, "held_out")]
        if wrong:
            raise ValueError(
                f"The optimizer was meta-trained on {seen.words}: the evaluation must not hold out "
                f"{', '.join(wrong)}."
            )


def tested_split(config: Config, dataset: Dataset) -> Batch:
    """The images of the evaluation, before any corruption."""
    split = dataset.test if config.evaluation.split == "test" else dataset.select
    return few(split, config.evaluation.num_images)


def test_sets(config: Config, problem: Problem) -> list[TestSet]:
    """The test images under every condition, the same for every run."""
    split = tested_split(config, problem.dataset)
    suite = SUITES[config.evaluation.suite]
    if config.evaluation.suite == "noise_scales":
        outer, strengths = config.outer, config.evaluation.strengths
        return suite(split, problem.outer_loss, strengths=strengths, std=outer.std, clip=outer.clip)
    roles = condition_roles(config, problem.outer_loss, split.images.shape[-1])
    return suite(split, problem.outer_loss, roles=roles)
