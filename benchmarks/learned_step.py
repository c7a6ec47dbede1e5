"""What a step of a learned optimizer costs, in steps of Adam and of Muon of the same classifier.

One classifier is trained by each rule, by `optax.adam` and by `optax.contrib.muon`: a jitted scan
of `inner_loop.train`, the same batches, no outer loss. They take turns, window by window; the
median over windows of the ratio is printed, by the clock and by the seconds of all cores. The
classifiers: 784-32-10 at batch 64, convnets of 8, 16 and 32 channels at batch 128, on 28×28×1 and
on 16×16×3 images, and a residual net of depth 8 and width 8 on the latter.

    python benchmarks/learned_step.py --json results/benchmarks/learned_step.json
"""

import argparse
import statistics
from typing import Any

import jax
import optax

from noiseproof import inner_loop
from noiseproof.kinds import MATRICES
from noiseproof.metatrain import Objective, recipe_of
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.tasks.image_classification import TaskData
from noiseproof.types import Recipe, TensorRole, Theta
from problems import PROBLEMS, Problem, build_objective, random_data
from windows import Rates, Timed, add_options, median_ratio, rates, report

ADAM, MUON = "adam", "muon"


def yardstick(name: str, objective: Objective) -> Recipe:
    """Optax's own Adam, or its Muon, which orthogonalizes the classifier's matrices and filters."""
    if name == ADAM:
        return Recipe(optax.adam(1e-3))

    def numbers(param: jax.Array, role: TensorRole) -> optax.contrib.MuonDimensionNumbers | None:
        last = param.ndim - 1
        is_matrix = role.kind in MATRICES
        return optax.contrib.MuonDimensionNumbers(tuple(range(last)), last) if is_matrix else None

    params = jax.eval_shape(objective.task.init, jax.random.key(0))
    tree = jax.tree.map(numbers, params, objective.layout)
    return Recipe(optax.contrib.muon(1e-3, muon_weight_dimension_numbers=tree))


def training(problem: Problem, name: str, data: TaskData, num_steps: int) -> Timed:
    """Inner steps of one classifier by a rule, or by a yardstick."""
    is_rule = name in LEARNED_OPTIMIZERS
    objective = build_objective(problem, name if is_rule else "adafac_mlp")
    key = jax.random.key(0)

    def train(theta: Theta, data: TaskData, key: jax.Array) -> jax.Array:
        recipe = recipe_of(objective, theta) if is_rule else yardstick(name, objective)
        return inner_loop.train(objective.task, recipe, data, num_steps, key).losses

    run = jax.jit(train)
    theta = objective.learned.init(key)
    return Timed(num_steps, lambda: run(theta, data, key))


def beside(rule: Rates, yardsticks: dict[str, Rates]) -> dict[str, float]:
    """What a rule's step costs, each window beside the yardsticks' of the same turn."""
    found = {"steps_per_second": statistics.median(rule.wall)}
    for name, one in yardsticks.items():
        found[f"{name}_steps_per_learned_step"] = median_ratio(one.wall, rule.wall)
        found[f"{name}_cpu_steps_per_learned_step"] = median_ratio(one.cpu, rule.cpu)
    return found


def costs(problem: Problem, rules: list[str], num_steps: int, num_windows: int) -> dict[str, Any]:
    """Of every rule, for one classifier."""
    data = random_data(problem)
    timed = {name: training(problem, name, data, num_steps) for name in (ADAM, MUON, *rules)}
    found = rates(timed, num_windows)
    yardsticks = {name: found[name] for name in (ADAM, MUON)}
    return {
        "image_shape": problem.image_shape,
        "batch_size": problem.batch_size,
        **{
            f"{name}_steps_per_second": statistics.median(yardsticks[name].wall)
            for name in yardsticks
        },
        "rules": {rule: beside(found[rule], yardsticks) for rule in rules},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="What a step of a learned optimizer costs.")
    parser.add_argument("--rule", action="append", choices=LEARNED_OPTIMIZERS, help="default: all")
    parser.add_argument("--model", action="append", choices=PROBLEMS, help="default: all")
    parser.add_argument("--steps", type=int, default=400, help="a window")
    add_options(parser)
    options = parser.parse_args()
    rules, models = options.rule or list(LEARNED_OPTIMIZERS), options.model or list(PROBLEMS)
    record = {
        "steps_a_window": options.steps,
        "windows": options.windows,
        "models": {
            name: costs(PROBLEMS[name], rules, options.steps, options.windows) for name in models
        },
    }
    report(record, options.json)


if __name__ == "__main__":
    main()
