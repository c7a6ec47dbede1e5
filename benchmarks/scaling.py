"""How the cost of meta-training grows: in proportion to pairs and to inner steps.

What an outer step of the task of `meta_training.py` costs from 4 to 256 pairs and, with 8 pairs,
from 10 to 200 inner steps; the slope of its logarithm against theirs, 1 where the cost is
proportional; and the memory of a pair, carried along and by the compiler in an outer step.

    python benchmarks/scaling.py --json results/benchmarks/scaling.json
"""

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from meta_training import NUM_PAIRS, TRUNCATION, outer_steps, start
from noiseproof.metatrain import Objective, pes, target_of
from noiseproof.metatrain.memory import check_runs_fit, most_bytes
from noiseproof.metatrain.outer_loop import Plan, build_steps
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.tasks.image_classification import TaskData
from problems import PROBLEMS, build_objective, random_data
from windows import add_options, rates, report

PAIRS = (4, 16, 64, 256)
INNER_STEPS = (10, 50, 200)


def slope(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Of the logarithm of a cost against that of the size, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def growth(
    objective: Objective,
    data: TaskData,
    pairs: Sequence[int],
    inner_steps: Sequence[int],
    num_windows: int,
) -> dict[str, Any]:
    """Seconds of an outer step by pairs and by inner steps, measured in turn."""
    sizes = {("pairs", number): (number, TRUNCATION) for number in pairs}
    sizes |= {("inner_steps", number): (NUM_PAIRS, number) for number in inner_steps}
    timed = {name: outer_steps(start(objective, data, *size), 1) for name, size in sizes.items()}
    found = rates(timed, num_windows)
    record = {}
    for axis, numbers in (("pairs", pairs), ("inner_steps", inner_steps)):
        for clock in ("wall", "cpu"):
            seconds = {
                number: timed[axis, number].work
                / statistics.median(getattr(found[axis, number], clock))
                for number in numbers
            }
            record[f"{clock}_seconds_by_{axis}"] = seconds
            record[f"{clock}_slope_by_{axis}"] = slope(numbers, list(seconds.values()))
    return record


def memory_of_a_pair(objective: Objective, data: TaskData) -> dict[str, Any]:
    """What it carries along, and what the compiler says that another pair adds to a step."""
    key, carried, needed = jax.random.key(0), [], []
    for num_pairs in (NUM_PAIRS, 2 * NUM_PAIRS):
        estimator = pes(objective, truncation=TRUNCATION, num_pairs=num_pairs, std=0.01)
        plan = Plan(num_outer_steps=10, learning_rate=1e-4)
        steps = build_steps(target_of(objective), estimator, plan)
        state = jax.eval_shape(steps.start, data, key, key)
        carried.append(check_runs_fit([objective], estimator, data))
        needed.append(most_bytes(steps.programs(state, data, key)))
    return {
        "pair_bytes_carried": (carried[1] - carried[0]) / NUM_PAIRS,
        "pair_bytes_in_an_outer_step": (needed[1] - needed[0]) / NUM_PAIRS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rule", default="adafac_mlp", choices=LEARNED_OPTIMIZERS)
    parser.add_argument("--model", default="mlp", choices=PROBLEMS)
    parser.add_argument("--pairs", type=int, nargs="+", default=PAIRS)
    parser.add_argument("--inner-steps", type=int, nargs="+", default=INNER_STEPS)
    add_options(parser)
    options = parser.parse_args()
    problem = PROBLEMS[options.model]
    objective, data = build_objective(problem, options.rule), random_data(problem)
    record = {
        "rule": options.rule,
        "model": options.model,
        "windows": options.windows,
        **memory_of_a_pair(objective, data),
        **growth(objective, data, options.pairs, options.inner_steps, options.windows),
    }
    report(record, options.json)


if __name__ == "__main__":
    main()
