"""What the numbers say, in a sentence that is as ready to say that the learned optimizer lost."""

from collections.abc import Sequence

import numpy as np

from noiseproof.report.tables import condition_label, num_seeds, percent, points, verdict
from noiseproof.results import Comparison, Summary

Group = Sequence[Comparison]


def finding(summary: Summary) -> str:
    """The result against the strongest hand-designed rival, in one or two sentences.

    The strongest is the one with the highest mean accuracy over the held-out conditions (over all
    that are not clean where none is held out).
    """
    kinds = {made.name: made.kind for made in summary.optimizers}
    shown = [made for made in summary.comparisons if made.severity is None]
    judged = [
        made
        for made in shown
        if kinds.get(made.learned) == "learned" and kinds.get(made.rival) == "hand"
    ]
    if not judged:
        return "No learned optimizer was compared with a hand-designed rival."
    return _against_strongest(judged)


def _against_strongest(judged: Group) -> str:
    by_rival: dict[str, list[Comparison]] = {}
    for made in judged:
        by_rival.setdefault(made.rival, []).append(made)
    rival = max(by_rival, key=lambda name: np.mean([m.rival_mean for m in _core(by_rival[name])]))
    group = by_rival[rival]
    sentences = [_held_out(group)] if any(made.role == "held_out" for made in group) else []
    seen = [made for made in group if made.role == "meta_train"]
    if len(seen) == 1:
        sentences.append(_single(seen[0]))
    return " ".join(sentences) or _single(_core(group)[0])


def _core(group: Group) -> Group:
    """Held-out conditions, or what comes nearest to them."""
    for roles in (("held_out",), ("meta_train",)):
        if found := [made for made in group if made.role in roles]:
            return found
    return group


def _held_out(group: Group) -> str:
    held_out = [made for made in group if made.role == "held_out"]
    first = held_out[0]
    verdicts = [verdict(made) for made in held_out]
    num_better = sum(made.difference > 0 for made in held_out)
    mean = float(np.mean([made.difference for made in held_out]))
    return (
        f"Against {first.rival}, the strongest hand-designed rival here, {first.learned} is more "
        f"accurate on {num_better} of {len(held_out)} held-out conditions "
        f"({verdicts.count('better')} significantly) and significantly less on "
        f"{verdicts.count('worse') or 'none'}: {points(mean)} points on average, "
        f"{num_seeds(made.n for made in held_out)}."
    )


def _single(made: Comparison) -> str:
    place = condition_label(made).removesuffix("*")
    seen = ", the meta-trained condition" if made.role == "meta_train" else ""
    return (
        f"On {place}{seen}, {made.learned} reaches {percent(made.learned_mean)}% and {made.rival} "
        f"{percent(made.rival_mean)}%: {points(made.difference)} points{_certainty(made)}."
    )


def _certainty(made: Comparison) -> str:
    if made.n == 1:
        return " in one seed, so that nothing is known of its spread"
    low, high = made.ci95
    interval = f" (95% interval {points(low)} to {points(high)}, {num_seeds([made.n])})"
    return interval if low > 0 or high < 0 else f"{interval}, which is no clear difference"
