"""What the rows of `results.csv` say: learned optimizers against rivals, paired by seed.

Everything here is computed from the records, so that whoever holds the rows can check the claims.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from noiseproof.evaluate.statistics import holm, paired_test, sign_test
from noiseproof.results import (
    Accuracies,
    Comparison,
    Condition,
    Improvement,
    ResultRow,
    accuracies,
    condition_words,
)

SIGNIFICANCE = 0.05
"""The greatest adjusted p value of a finding, by convention."""


def compare(rows: Iterable[ResultRow], *, learned: str, rivals: Sequence[str]) -> list[Comparison]:
    """Compare one optimizer with its rivals under every condition in the rows.

    A corruption with severities gives one comparison of the means over its severities
    (`severity` none) and one for each. P values are adjusted over all corruptions and strengths
    of one role, for each rival, data set and model; single severities by themselves.

    Args:
        rows: The records of one meta-seed.
        learned: Name of the optimizer that is judged.
        rivals: Names of those it is compared with.

    Raises:
        ValueError: An optimizer is missing, was run twice under one seed and condition, or not
            under the same seeds as the other.
    """
    conditions = accuracies(rows)
    found = [
        _comparison(condition, by_optimizer, learned, rival)
        for rival in rivals
        for condition, by_optimizer in conditions.items()
    ]
    return _adjusted(found)


def held_out_improved(
    comparisons: Iterable[Comparison], rows: Iterable[ResultRow]
) -> dict[str, Improvement]:
    """Count, by rival, the held-out conditions on which the learned optimizer is better.

    A condition is a corruption (its mean over severities) or a strength; single severities do not
    count. Significant are those better ones whose adjusted p value is below 0.05. The mean
    difference is taken over the conditions within each seed first.

    Args:
        comparisons: From `compare`, of one learned optimizer.
        rows: What they were made of.
    """
    by_rival: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        if comparison.role == "held_out" and comparison.severity is None:
            by_rival.setdefault(comparison.rival, []).append(comparison)
    conditions = accuracies(rows)
    return {rival: _improvement(found, conditions) for rival, found in by_rival.items()}


def _comparison(
    condition: Condition, by_optimizer: Mapping[str, Mapping[int, float]], learned: str, rival: str
) -> Comparison:
    """With the unadjusted p value in the place of the adjusted one."""
    for name in (learned, rival):
        if name not in by_optimizer:
            raise ValueError(
                f"optimizers to compare must be in the rows, got none of {name} under "
                f"{condition_words(condition)}."
            )
    seeds, rival_seeds = sorted(by_optimizer[learned]), sorted(by_optimizer[rival])
    if seeds != rival_seeds:
        raise ValueError(
            f"{learned} and {rival} must be run under the same seeds, got {seeds} and "
            f"{rival_seeds} under {condition_words(condition)}."
        )
    ours, theirs = (
        np.array([by_optimizer[name][seed] for seed in seeds]) for name in (learned, rival)
    )
    test = paired_test(ours, theirs)
    return Comparison(
        learned=learned,
        rival=rival,
        **condition._asdict(),
        learned_mean=float(ours.mean()),
        rival_mean=float(theirs.mean()),
        difference=test.interval.mean,
        ci95=(test.interval.low, test.interval.high),
        p_holm=test.p_value,
        n=test.interval.n,
    )


def _adjusted(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with p values adjusted within each family of tests."""
    families: dict[tuple[object, ...], list[int]] = {}
    for place, c in enumerate(comparisons):
        family = (c.rival, c.dataset, c.model, c.severity, c.role)
        families.setdefault(family, []).append(place)
    adjusted = list(comparisons)
    for places in families.values():
        p_values = holm(np.array([comparisons[place].p_holm for place in places]))
        for place, p_value in zip(places, p_values, strict=True):
            adjusted[place] = comparisons[place]._replace(p_holm=float(p_value))
    return adjusted


def _improvement(comparisons: Sequence[Comparison], conditions: Accuracies) -> Improvement:
    better = [comparison for comparison in comparisons if comparison.difference > 0]
    significant = [comparison for comparison in better if comparison.p_holm < SIGNIFICANCE]
    first = comparisons[0]
    ours, theirs = (
        _means_over_conditions(comparisons, conditions, name)
        for name in (first.learned, first.rival)
    )
    interval = paired_test(ours, theirs).interval
    return Improvement(
        count=len(better),
        of=len(comparisons),
        significant=len(significant),
        p_sign=sign_test(np.array([comparison.difference for comparison in comparisons])),
        learned_mean=float(ours.mean()),
        rival_mean=float(theirs.mean()),
        difference=interval.mean,
        ci95=(interval.low, interval.high),
        n=interval.n,
    )


def _means_over_conditions(
    comparisons: Sequence[Comparison], conditions: Accuracies, name: str
) -> Float[np.ndarray, " seeds"]:
    """The mean accuracy of an optimizer over the conditions, by seed in rising order."""
    by_seed = [
        conditions[Condition(*(getattr(made, field) for field in Condition._fields))][name]
        for made in comparisons
    ]
    return np.array([[found[seed] for seed in sorted(found)] for found in by_seed]).mean(axis=0)
