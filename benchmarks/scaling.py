"""How the cost of meta-training grows with pairs, inner steps, width, tasks and devices.

What an outer step of the perceptron of `meta_training.py` costs, one size changed at a time from 8
pairs, truncations of 20 steps, 32 hidden units, one task and one device; the slope of its logarithm
against that of the size, 1 where the cost is proportional, between neighbors and in all; the first
size beyond which it is not proportional; and the memory of a pair, carried along and by the
compiler in an outer step. Devices are of the host, which shares its cores among them: there the
cost should fall as -1 up to the number of cores, and no further.

    python benchmarks/scaling.py --json results/benchmarks/scaling.json
"""

import argparse
import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from meta_training import ESTIMATORS, Started, outer_steps, start
from noiseproof.metatrain import Objective, joint, target_of
from noiseproof.metatrain.memory import check_runs_fit, most_bytes
from noiseproof.metatrain.outer_loop import Plan, build_steps
from noiseproof.metatrain.sharding import PAIRS, replicate
from noiseproof.models import mlp
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.tasks.image_classification import TaskData
from problems import PROBLEMS, build_objective, random_data
from windows import add_options, rates, report

SIZES = {
    "pairs": (4, 16, 64, 256, 512),
    "inner_steps": (10, 50, 200),
    "width": (8, 32, 128, 256),
    "tasks": (1, 4, 16),
    "devices": (1, 2, 4, 8),
}
BASE = {"pairs": 8, "inner_steps": 20, "width": 32, "tasks": 1, "devices": 1}

PROPORTIONAL = 0.2
"""A slope between neighbors that is that far from 1 (of devices from -1) is not proportional."""


def slope(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Of the logarithm of a cost against that of the size, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def local_slopes(sizes: Sequence[int], costs: Sequence[float]) -> list[float]:
    """The slope from each size to the next."""
    return [slope(sizes[at : at + 2], costs[at : at + 2]) for at in range(len(sizes) - 1)]


def proportional_up_to(sizes: Sequence[int], costs: Sequence[float], expected: float = 1.0) -> int:
    """The last size before the first slope that is not the expected one, within `PROPORTIONAL`."""
    far = [abs(found - expected) > PROPORTIONAL for found in local_slopes(sizes, costs)]
    return sizes[far.index(True)] if any(far) else sizes[-1]


def of_width(rule: str, width: int, num_devices: int) -> Objective:
    """The perceptron of so many hidden units, its pairs spread over so many devices."""
    problem = PROBLEMS["mlp"]._replace(build=partial(mlp, hidden_sizes=(width,)))
    objective = build_objective(problem, rule)
    if num_devices == 1:
        return objective
    mesh = Mesh(np.array(jax.devices()[:num_devices]), (PAIRS,))
    return objective._replace(placement=objective.placement._replace(mesh=mesh))


def started(rule: str, estimator: str, data: TaskData, sizes: dict[str, int]) -> Started:
    """Meta-training of these sizes, before its first outer step."""
    objective = of_width(rule, sizes["width"], sizes["devices"])
    truncation, pairs = sizes["inner_steps"], sizes["pairs"]
    if sizes["tasks"] == 1:
        own = replicate(data, objective.placement.mesh)
        return start(objective, own, pairs, truncation, estimator)
    objectives = [objective] * sizes["tasks"]
    estimators = [
        ESTIMATORS[estimator](one, truncation=truncation, num_pairs=pairs) for one in objectives
    ]
    target, together = joint(objectives, estimators, weights=[1.0] * len(objectives))
    key, own = jax.random.key(0), (data,) * len(objectives)
    steps = build_steps(target, together, Plan(num_outer_steps=10**6, learning_rate=1e-4))
    state = jax.block_until_ready(steps.start(own, key, key))
    steps.programs(state, own, key)
    return Started(steps.advance, state, own, key, together.num_inner_steps)


def growth(
    rule: str, estimator: str, data: TaskData, axes: dict[str, list[int]], num_windows: int
) -> dict[str, Any]:
    """Seconds of an outer step along every axis, its sizes measured in turn."""
    record = {}
    for axis, sizes in axes.items():
        timed = {
            size: outer_steps(started(rule, estimator, data, BASE | {axis: size}), 1)
            for size in sizes
        }
        found = rates(timed, num_windows)
        for clock in ("wall", "cpu"):
            seconds = [
                timed[size].work / statistics.median(getattr(found[size], clock)) for size in sizes
            ]
            record[f"{clock}_seconds_by_{axis}"] = dict(zip(sizes, seconds, strict=True))
            record[f"{clock}_slope_by_{axis}"] = slope(sizes, seconds)
            record[f"{clock}_slopes_by_{axis}"] = local_slopes(sizes, seconds)
            if clock == "wall":
                expected = -1.0 if axis == "devices" else 1.0
                record[f"proportional_in_{axis}_up_to"] = proportional_up_to(
                    sizes, seconds, expected
                )
    return record


def memory_of_a_pair(objective: Objective, data: TaskData, estimator: str) -> dict[str, Any]:
    """What it carries along, and what the compiler says that another pair adds to a step."""
    key, carried, needed = jax.random.key(0), [], []
    pairs, truncation = BASE["pairs"], BASE["inner_steps"]
    for num_pairs in (pairs, 2 * pairs):
        built = ESTIMATORS[estimator](objective, truncation=truncation, num_pairs=num_pairs)
        plan = Plan(num_outer_steps=10, learning_rate=1e-4)
        steps = build_steps(target_of(objective), built, plan)
        state = jax.eval_shape(steps.start, data, key, key)
        carried.append(check_runs_fit([objective], built, data))
        needed.append(most_bytes(steps.programs(state, data, key)))
    return {
        "pair_bytes_carried": (carried[1] - carried[0]) / pairs,
        "pair_bytes_in_an_outer_step": (needed[1] - needed[0]) / pairs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="How the cost of meta-training grows.")
    parser.add_argument("--rule", default="universal", choices=LEARNED_OPTIMIZERS)
    parser.add_argument("--estimator", default="nres", choices=ESTIMATORS)
    for axis, sizes in SIZES.items():
        option = f"--{axis.replace('_', '-')}"
        parser.add_argument(
            option, type=int, nargs="*", default=sizes, help="two at least, or none to leave it out"
        )
    add_options(parser)
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", max(*options.devices, 1))
    axes = {axis: getattr(options, axis) for axis in SIZES}
    axes = {axis: sizes for axis, sizes in axes.items() if len(sizes) > 1}
    data = random_data(PROBLEMS["mlp"])
    record = {
        "rule": options.rule,
        "estimator": options.estimator,
        "windows": options.windows,
        **memory_of_a_pair(of_width(options.rule, BASE["width"], 1), data, options.estimator),
        **growth(options.rule, options.estimator, data, axes, options.windows),
    }
    report(record, options.json)


if __name__ == "__main__":
    main()
