"""What the numbers say, in a sentence that is as ready to say that the learned optimizer lost."""

from collections.abc import Sequence

import numpy as np

from noiseproof.report.tables import condition_name, num_seeds, percent, points, verdict
from noiseproof.results import Comparison, Run, Summary, core, strongest_rival

Group = Sequence[Comparison]


def finding(run: Run, summary: Summary) -> str:
    """The result against the strongest hand-designed rival, in one or two sentences.

    The strongest is the one with the highest mean accuracy over the held-out conditions; where
    none is held out, over those of meta-training.
    """
    rival = strongest_rival(run, summary)
    if rival is None:
        return "No learned optimizer was compared with a hand-designed rival."
    group = [one for one in against(summary, rival) if one.condition.severity is None]
    held_out, seen = _of_role(group, "held_out"), _of_role(group, "meta_train")
    sentences = [_held_out(held_out)] if held_out else []
    if len(seen) == 1:
        sentences.append(_single(seen[0]))
    claim = " ".join(sentences) or _single(core(group)[0])
    return " ".join([claim, tuning_text(run, summary)]).strip()


def tuning_text(run: Run, summary: Summary) -> str:
    """What it costs to tune the strongest rival to the learned optimizer's outer loss, in a
    sentence; nothing where the record does not say it.
    """
    rival = strongest_rival(run, summary)
    cost = summary.tuning_costs.get(rival or "")
    if cost is None:
        return ""
    learned = run.optimizers[0].name
    if cost.trials_to_reach is None:
        return f"{rival} does not reach the outer loss of {learned}, untuned, in {cost.of} trials."
    trials = "1 trial" if cost.trials_to_reach == 1 else f"{cost.trials_to_reach} trials"
    return f"{rival} needs {trials} on average to reach the outer loss of {learned}, untuned."


def against(summary: Summary, rival: str) -> Group:
    """The comparisons with a rival."""
    return [comparison for comparison in summary.comparisons if comparison.rival == rival]


def _of_role(group: Group, role: str) -> Group:
    return [comparison for comparison in group if comparison.condition.role == role]


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
