"""The rows of `results.csv` by test condition, means over severities included."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple, TypeAlias

from noiseproof.results.schema import ResultRow, Role


class Condition(NamedTuple):
    """What a classifier is tested on; fields as in `ResultRow`."""

    dataset: str
    model: str
    corruption: str
    family: str
    severity: int | None
    strength: float | None
    role: Role


Accuracies: TypeAlias = dict[Condition, dict[str, dict[int, float]]]
"""Accuracy, 0 to 1, by condition, optimizer and seed."""


def accuracies(rows: Iterable[ResultRow]) -> Accuracies:
    """The accuracies in the order of the rows.

    Before the first severity of a corruption stands the mean over its severities, as a condition
    with neither severity nor strength.

    Raises:
        ValueError: An optimizer was run twice under one seed and condition, or not under the same
            seeds at all severities of a corruption.
    """
    table: Accuracies = {}
    for row in rows:
        condition = Condition(**{name: getattr(row, name) for name in Condition._fields})
        by_seed = table.setdefault(condition, {}).setdefault(row.optimizer, {})
        if row.seed in by_seed:
            raise ValueError(
                f"rows must hold a seed once per optimizer and condition, got seed {row.seed} of "
                f"{row.optimizer} twice under {condition_words(condition)}."
            )
        by_seed[row.seed] = row.accuracy
    return dict(_with_means(table))


def condition_words(condition: Condition) -> str:
    """A condition in words, for messages."""
    name = f"{condition.corruption} on {condition.dataset} with {condition.model}"
    if condition.severity is not None:
        return f"{name}, severity {condition.severity}"
    return name if condition.strength is None else f"{name}, strength {condition.strength:g}"


def _with_means(table: Accuracies) -> Iterator[tuple[Condition, dict[str, dict[int, float]]]]:
    severities: dict[Condition, list[Condition]] = {}
    for condition in table:
        if condition.severity is not None:
            severities.setdefault(_mean_of(condition), []).append(condition)
    for condition, by_optimizer in table.items():
        mean = _mean_of(condition)
        if severities.get(mean, [None])[0] == condition:
            yield mean, _mean([table[severity] for severity in severities[mean]], mean)
        yield condition, by_optimizer


def _mean_of(condition: Condition) -> Condition:
    return condition._replace(severity=None, strength=None)


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
