"""How robust classifiers are in the two numbers of the field, computed from a record.

Mean corruption error comes in two kinds that must not be mixed: the plain mean, to which the
RobustBench leaderboard's accuracy is the complement (F. Croce and others, 2021, arXiv 2010.09670),
and the original one, relative to a baseline (D. Hendrycks and T. Dietterich, 2019, arXiv
1903.12261, section 4: CE and relative CE). Errors are shares from 0 to 1. The baseline here is
another optimizer of the same record, so that both train the same classifiers.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from noiseproof.messages import short
from noiseproof.results.comparison import places
from noiseproof.results.conditions import accuracies, mean_of
from noiseproof.results.schema import Record


class RobustnessMetrics(NamedTuple):
    """What one optimizer's classifiers reach, each the mean over seeds.

    Attributes:
        optimizer: Its name.
        clean_error: Error on clean images, 0 to 1.
        mean_error: Mean over corruptions of the error, 0 to 1.
        mce: Mean over corruptions of the error relative to the baseline's: 1 is as bad as that.
        relative_mce: Mean over corruptions of the rise above the clean error, relative to the
            baseline's rise; None where the baseline does not degrade on one of them.
    """

    optimizer: str
    clean_error: float
    mean_error: float
    mce: float
    relative_mce: float | None


def robustness_metrics(record: Record, baseline: str) -> list[RobustnessMetrics]:
    """The metrics of every optimizer, over all corruptions that have severities.

    Args:
        record: One evaluation.
        baseline: Name of the optimizer that errors are relative to.

    Raises:
        ValueError: The baseline is not in the record or makes no error under a corruption, no
            corruption has severities, or nothing was tested on clean images.
    """
    place = places(record)
    if baseline not in place:
        raise ValueError(f"The baseline must be among {', '.join(place)}, got {short(baseline)}.")
    table = accuracies(record)
    clean = [condition for condition in table if condition.role == "clean"]
    means = {mean_of(one) for one in table if one.severity is not None}
    corrupted = [one for one in table if one in means and one.role != "published"]
    if not clean or not corrupted:
        raise ValueError("The record must hold clean images and corruptions with severities.")
    clean_errors = 1 - table[clean[0]].mean(axis=1)
    errors = np.stack([1 - table[condition].mean(axis=1) for condition in corrupted])
    if not (errors[:, place[baseline]] > 0).all():
        raise ValueError(f"The baseline {baseline} must make errors under every corruption.")
    return [
        RobustnessMetrics(
            optimizer=name,
            clean_error=float(clean_errors[index]),
            mean_error=float(errors[:, index].mean()),
            mce=float(np.mean(errors[:, index] / errors[:, place[baseline]])),
            relative_mce=_mean_ratio(
                errors[:, index] - clean_errors[index],
                errors[:, place[baseline]] - clean_errors[place[baseline]],
            ),
        )
        for name, index in place.items()
    ]


def _mean_ratio(
    rises: Float[np.ndarray, " corruptions"], baseline: Float[np.ndarray, " corruptions"]
) -> float | None:
    return float(np.mean(rises / baseline)) if (baseline > 0).all() else None
