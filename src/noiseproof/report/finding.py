"""What the numbers say, in a sentence that is as ready to say that the learned optimizer lost."""

from collections.abc import Sequence

import numpy as np

from noiseproof.report.tables import condition_name, num_seeds, percent, points, verdict
from noiseproof.results import Comparison, Run, Summary

Group = Sequence[Comparison]


def finding(run: Run, summary: Summary) -> str:
    """The result against the strongest hand-designed rival, in one or two sentences.

    The strongest is the one with the highest mean accuracy over the held-out conditions (over all
    that are not clean where none is held out).
    """
    kinds = {entry.name: entry.kind for entry in run.optimizers}
    judged = [
        comparison
        for comparison in summary.comparisons
        if comparison.condition.severity is None
        and kinds[comparison.learned] == "learned"
        and kinds[comparison.rival] == "hand"
    ]
    if not judged:
        return "No learned optimizer was compared with a hand-designed rival."
    return _against_strongest(judged)


def _against_strongest(judged: Group) -> str:
    by_rival: dict[str, list[Comparison]] = {}
    for comparison in judged:
        by_rival.setdefault(comparison.rival, []).append(comparison)
    group = max(
        by_rival.values(), key=lambda group: np.mean([one.rival_mean for one in _core(group)])
    )
    held_out, seen = _of_role(group, "held_out"), _of_role(group, "meta_train")
    sentences = [_held_out(held_out)] if held_out else []
    if len(seen) == 1:
        sentences.append(_single(seen[0]))
    return " ".join(sentences) or _single(_core(group)[0])


def _of_role(group: Group, role: str) -> Group:
    return [comparison for comparison in group if comparison.condition.role == role]


def _core(group: Group) -> Group:
    """Held-out conditions, or what comes nearest to them."""
    return _of_role(group, "held_out") or _of_role(group, "meta_train") or group


def _held_out(held_out: Group) -> str:
    first = held_out[0]
    verdicts = [verdict(comparison) for comparison in held_out]
    num_better = sum(comparison.difference > 0 for comparison in held_out)
    mean = float(np.mean([comparison.difference for comparison in held_out]))
    return (
        f"Against {first.rival}, the strongest hand-designed rival here, {first.learned} is more "
        f"accurate on {num_better} of {len(held_out)} held-out conditions "
        f"({verdicts.count('better')} significantly) and significantly less on "
        f"{verdicts.count('worse') or 'none'}: {points(mean)} points on average, "
        f"{num_seeds(first.n)}."
    )


def _single(comparison: Comparison) -> str:
    condition = comparison.condition
    place = "clean images" if condition.role == "clean" else condition_name(condition)
    seen = ", the meta-trained condition" if condition.role == "meta_train" else ""
    return (
        f"On {place}{seen}, {comparison.learned} reaches {percent(comparison.learned_mean)}% and "
        f"{comparison.rival} {percent(comparison.rival_mean)}%: {points(comparison.difference)} "
        f"points{_certainty(comparison)}."
    )


def _certainty(comparison: Comparison) -> str:
    if comparison.ci95 is None:
        return " in one seed, so that nothing is known of its spread"
    low, high = comparison.ci95
    interval = f" (95% interval {points(low)} to {points(high)}, {num_seeds(comparison.n)})"
    return interval if low > 0 or high < 0 else f"{interval}, which is no clear difference"
