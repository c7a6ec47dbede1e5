"""What the rows of `results.csv` say: learned optimizers against rivals, paired by seed.

Everything here is computed from the records, so that whoever holds the rows can check the claims.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np

from noiseproof.evaluate.statistics import holm, paired_test
from noiseproof.results import Comparison, Improvement, ResultRow, Role

SIGNIFICANCE = 0.05
"""The greatest adjusted p value of a finding, by convention."""


class Condition(NamedTuple):
    """What a classifier is tested on; fields as in `ResultRow`."""

    dataset: str
    model: str
    corruption: str
    family: str
    severity: int | None
    strength: float | None
    role: Role


def compare(rows: Iterable[ResultRow], *, learned: str, rivals: Sequence[str]) -> list[Comparison]:
    """Compare one optimizer with its rivals under every condition in the rows.

    A corruption with severities gives one comparison of the means over its severities
    (`severity` none) and one for each. P values are adjusted over all corruptions and strengths
    of a rival, data set and model together; each severity, and clean images, by themselves.

    Args:
        rows: The records of one meta-seed.
        learned: Name of the optimizer that is judged.
        rivals: Names of those it is compared with.

    Raises:
        ValueError: An optimizer is missing, was run twice under one seed and condition, or not
            under the same seeds as the other.
    """
    conditions = dict(_with_means(_accuracies(rows)))
    found = [
        _comparison(condition, by_optimizer, learned, rival)
        for rival in rivals
        for condition, by_optimizer in conditions.items()
    ]
    return _adjusted(found)


def held_out_improved(comparisons: Iterable[Comparison]) -> dict[str, Improvement]:
    """Count, by rival, the held-out conditions on which the learned optimizer is better.

    A condition is a corruption (its mean over severities) or a strength; single severities do not
    count. Significant are those better ones whose adjusted p value is below 0.05.
    """
    by_rival: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        if comparison.role == "held_out" and comparison.severity is None:
            by_rival.setdefault(comparison.rival, []).append(comparison)
    return {rival: _improvement(found) for rival, found in by_rival.items()}


def _accuracies(rows: Iterable[ResultRow]) -> dict[Condition, dict[str, dict[int, float]]]:
    """By condition, optimizer and seed."""
    table: dict[Condition, dict[str, dict[int, float]]] = {}
    for row in rows:
        condition = Condition(**{name: getattr(row, name) for name in Condition._fields})
        by_seed = table.setdefault(condition, {}).setdefault(row.optimizer, {})
        if row.seed in by_seed:
            raise ValueError(
                f"rows must hold a seed once per optimizer and condition, got seed {row.seed} of "
                f"{row.optimizer} twice under {_words(condition)}."
            )
        by_seed[row.seed] = row.accuracy
    return table


def _with_means(
    table: Mapping[Condition, dict[str, dict[int, float]]],
) -> Iterator[tuple[Condition, dict[str, dict[int, float]]]]:
    """The table with a mean over severities before the first severity of each corruption."""
    severities: dict[Condition, list[Condition]] = {}
    for condition in table:
        if condition.severity is not None:
            mean = condition._replace(severity=None, strength=None)
            severities.setdefault(mean, []).append(condition)
    for condition, by_optimizer in table.items():
        mean = condition._replace(severity=None, strength=None)
        if mean in severities and severities[mean][0] == condition:
            yield mean, _mean([table[severity] for severity in severities[mean]], mean)
        yield condition, by_optimizer


def _mean(
    parts: Sequence[Mapping[str, Mapping[int, float]]], condition: Condition
) -> dict[str, dict[int, float]]:
    """Mean over parts, by optimizer and seed, which must be the same in all parts."""
    first = {name: sorted(by_seed) for name, by_seed in parts[0].items()}
    for part in parts:
        if {name: sorted(by_seed) for name, by_seed in part.items()} != first:
            raise ValueError(
                "every optimizer must be tested under the same seeds at all severities of "
                f"{condition.corruption}, got others at one of them."
            )
    return {
        name: {seed: fmean(part[name][seed] for part in parts) for seed in seeds}
        for name, seeds in first.items()
    }


def _comparison(
    condition: Condition, by_optimizer: Mapping[str, Mapping[int, float]], learned: str, rival: str
) -> Comparison:
    """With the unadjusted p value in the place of the adjusted one."""
    for name in (learned, rival):
        if name not in by_optimizer:
            raise ValueError(
                f"optimizers to compare must be in the rows, got none of {name} under "
                f"{_words(condition)}."
            )
    seeds, rival_seeds = sorted(by_optimizer[learned]), sorted(by_optimizer[rival])
    if seeds != rival_seeds:
        raise ValueError(
            f"{learned} and {rival} must be run under the same seeds, got {seeds} and "
            f"{rival_seeds} under {_words(condition)}."
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
        family = (c.rival, c.dataset, c.model, c.severity, c.role == "clean")
        families.setdefault(family, []).append(place)
    adjusted = list(comparisons)
    for places in families.values():
        p_values = holm(np.array([comparisons[place].p_holm for place in places]))
        for place, p_value in zip(places, p_values, strict=True):
            adjusted[place] = comparisons[place]._replace(p_holm=float(p_value))
    return adjusted


def _improvement(comparisons: Sequence[Comparison]) -> Improvement:
    better = [comparison for comparison in comparisons if comparison.difference > 0]
    significant = [comparison for comparison in better if comparison.p_holm < SIGNIFICANCE]
    return Improvement(count=len(better), of=len(comparisons), significant=len(significant))


def _words(condition: Condition) -> str:
    size = condition.strength if condition.severity is None else condition.severity
    kind = "strength" if condition.severity is None else "severity"
    name = f"{condition.corruption} on {condition.dataset} with {condition.model}"
    return name if size is None else f"{name}, {kind} {size:g}"
