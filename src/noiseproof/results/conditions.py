"""Accuracies of a record by test condition, means over severities included."""

from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from noiseproof.results.schema import Condition, Record

Accuracies: TypeAlias = dict[Condition, Float[np.ndarray, "optimizers seeds"]]
"""Accuracy, 0 to 1, by condition."""


def accuracy(record: Record) -> Float[np.ndarray, "optimizers conditions seeds"]:
    """The share of right images, 0 to 1; that of chance where the run diverged."""
    share = record.scores.right / record.run.num_images
    return np.where(record.scores.diverged[:, None], 1 / record.run.num_classes, share)


def accuracies(record: Record) -> Accuracies:
    """The accuracies in the order of the record's conditions.

    Before the first severity of a corruption stands the mean over its severities, as a condition
    with neither severity nor strength.
    """
    values, conditions = accuracy(record), record.run.conditions
    severities: dict[Condition, list[int]] = {}
    for place, condition in enumerate(conditions):
        if condition.severity is not None:
            severities.setdefault(mean_of(condition), []).append(place)
    table: Accuracies = {}
    for place, condition in enumerate(conditions):
        mean = mean_of(condition)
        if condition.severity is not None and mean not in table:
            table[mean] = values[:, severities[mean]].mean(axis=1)
        table[condition] = values[:, place]
    return table


def mean_of(condition: Condition) -> Condition:
    """The mean over the severities of a condition's corruption."""
    return Condition(condition.corruption, condition.family, condition.role)
