"""What the scores of a record say: the learned optimizer against the others, paired by seed."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from noiseproof.messages import short
from noiseproof.results.conditions import Accuracies, accuracies
from noiseproof.results.intervals import Interval
from noiseproof.results.schema import (
    Comparison,
    Condition,
    Improvement,
    Record,
    Run,
    Summary,
)
from noiseproof.results.statistics import holm, paired_test, sign_test
from noiseproof.results.trials import tuning_costs

SIGNIFICANCE = 0.05
"""The greatest adjusted p value of a finding, by convention."""


def summarize(record: Record) -> Summary:
    """Compares the learned optimizer, the first of the record, with all others."""
    learned, *rivals = (entry.name for entry in record.run.optimizers)
    comparisons = compare(record, learned=learned, rivals=rivals)
    return Summary(held_out_improved(comparisons, record), comparisons, tuning_costs(record))


def compare(record: Record, *, learned: str, rivals: Sequence[str]) -> list[Comparison]:
    """Compares one optimizer with its rivals under every condition of a record.

    A corruption with severities gives one comparison of the means over its severities
    (neither severity nor strength) and one for each. P values are adjusted over all corruptions
    and strengths of one role, for each rival; single severities by themselves.

    Args:
        record: One evaluation.
        learned: Name of the optimizer that is judged.
        rivals: Names of those it is compared with.

    Raises:
        ValueError: An optimizer is not in the record.
    """
    place = places(record)
    for name in (learned, *rivals):
        if name not in place:
            raise ValueError(f"optimizers must be among {', '.join(place)}, got {short(name)}.")
    table = accuracies(record)
    found = [
        _comparison(condition, values[place[learned]], values[place[rival]], learned, rival)
        for rival in rivals
        for condition, values in table.items()
    ]
    return _adjusted(found)


def places(record: Record) -> dict[str, int]:
    """Where each optimizer stands on the first axis of the scores, by its name."""
    return {entry.name: place for place, entry in enumerate(record.run.optimizers)}


def held_out_improved(comparisons: Iterable[Comparison], record: Record) -> dict[str, Improvement]:
    """Counts, by rival, the held-out conditions on which the learned optimizer is better.

    A condition is a corruption (its mean over severities) or a strength; single severities do not
    count. Significant are those better ones whose adjusted p value is below 0.05. The mean
    difference is taken over the conditions within each seed first.

    Args:
        comparisons: From `compare`, of one learned optimizer.
        record: What they were made of.
    """
    by_rival: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        condition = comparison.condition
        if condition.role == "held_out" and condition.severity is None:
            by_rival.setdefault(comparison.rival, []).append(comparison)
    table, place = accuracies(record), places(record)
    return {rival: _improvement(found, table, place) for rival, found in by_rival.items()}


def _comparison(
    condition: Condition, ours: np.ndarray, theirs: np.ndarray, learned: str, rival: str
) -> Comparison:
    """With the unadjusted p value in the place of the adjusted one."""
    test = paired_test(ours, theirs)
    return Comparison(
        learned=learned,
        rival=rival,
        condition=condition,
        learned_mean=float(ours.mean()),
        rival_mean=float(theirs.mean()),
        difference=test.interval.mean,
        ci95=_ends(test.interval),
        p_holm=test.p_value if test.interval.n > 1 else None,
        n=test.interval.n,
    )


def _ends(interval: Interval) -> tuple[float, float] | None:
    return None if interval.n == 1 else (interval.low, interval.high)


def _adjusted(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with p values adjusted within each family of tests."""
    families: dict[tuple[object, ...], list[int]] = {}
    for place, comparison in enumerate(comparisons):
        family = (comparison.rival, comparison.condition.severity, comparison.condition.role)
        families.setdefault(family, []).append(place)
    adjusted = list(comparisons)
    for family_places in families.values():
        p_values = [comparisons[place].p_holm for place in family_places]
        known = np.array([np.nan if value is None else value for value in p_values])
        for place, p_value in zip(family_places, holm(known).tolist(), strict=True):
            if comparisons[place].p_holm is not None:
                adjusted[place] = msgspec.structs.replace(comparisons[place], p_holm=p_value)
    return adjusted


def strongest_rival(run: Run, summary: Summary) -> str | None:
    """The hand-designed rival of the highest mean accuracy over the held-out conditions; over those
    met in meta-training where none is held out, over all where there are none of these either.
    """
    kinds = {entry.name: entry.kind for entry in run.optimizers}
    by_rival: dict[str, list[Comparison]] = {}
    for comparison in summary.comparisons:
        ours, theirs = kinds[comparison.learned], kinds[comparison.rival]
        if comparison.condition.severity is None and (ours, theirs) == ("learned", "hand"):
            by_rival.setdefault(comparison.rival, []).append(comparison)

    def mean_accuracy(rival: str) -> float:
        return float(np.mean([one.rival_mean for one in core(by_rival[rival])]))

    return max(by_rival, key=mean_accuracy, default=None)


def core(comparisons: Sequence[Comparison]) -> Sequence[Comparison]:
    """Those under held-out conditions, or what comes nearest to them."""
    for role in ("held_out", "meta_train"):
        found = [comparison for comparison in comparisons if comparison.condition.role == role]
        if found:
            return found
    return comparisons


def significant(comparison: Comparison) -> bool:
    """Whether the adjusted p value is known and below 0.05."""
    return comparison.p_holm is not None and comparison.p_holm < SIGNIFICANCE


def _improvement(
    comparisons: Sequence[Comparison], table: Accuracies, place: Mapping[str, int]
) -> Improvement:
    better = [comparison for comparison in comparisons if comparison.difference > 0]
    first = comparisons[0]
    means = np.mean([table[comparison.condition] for comparison in comparisons], axis=0)
    ours, theirs = means[place[first.learned]], means[place[first.rival]]
    interval = paired_test(ours, theirs).interval
    return Improvement(
        count=len(better),
        of=len(comparisons),
        significant=sum(map(significant, better)),
        p_sign=sign_test(np.array([comparison.difference for comparison in comparisons])),
        learned_mean=float(ours.mean()),
        rival_mean=float(theirs.mean()),
        difference=interval.mean,
        ci95=_ends(interval),
        n=interval.n,
    )
