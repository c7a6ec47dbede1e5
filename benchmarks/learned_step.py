"""What a step of a learned optimizer costs, in steps of Adam of the same classifier.

One classifier is trained by each rule and by `optax.adam`: a jitted scan of `inner_loop.train`,
the same batches, no outer loss. They take turns, window by window; the median over windows of the
ratio is printed, by the clock and by the seconds of all cores. The classifiers: 784-32-10 at batch
64, and convnets of 8, 16 and 32 channels at batch 128, on 28×28×1 and on 16×16×3 images.

    python benchmarks/learned_step.py --json results/benchmarks/learned_step.json
"""

import argparse
import statistics
from typing import Any

import jax
import optax

from noiseproof import inner_loop
from noiseproof.metatrain import recipe_of
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.tasks.image_classification import TaskData
from noiseproof.types import Recipe, Theta
from problems import PROBLEMS, Problem, build_objective, random_data
from windows import Rates, Timed, add_options, median_ratio, rates, report

ADAM = "adam"


def training(problem: Problem, rule: str, data: TaskData, num_steps: int) -> Timed:
    """Inner steps of one classifier by a rule, or by Adam."""
    is_adam = rule == ADAM
    objective = build_objective(problem, "adafac_mlp" if is_adam else rule)
    key = jax.random.key(0)

    def train(theta: Theta, data: TaskData, key: jax.Array) -> jax.Array:
        recipe = Recipe(optax.adam(1e-3)) if is_adam else recipe_of(objective, theta)
        return inner_loop.train(objective.task, recipe, data, num_steps, key).losses

    run = jax.jit(train)
    theta = objective.learned.init(key)
    return Timed(num_steps, lambda: run(theta, data, key))


def against_adam(rule: Rates, adam: Rates) -> dict[str, float]:
    """What a rule's step costs, each window beside Adam's of the same turn."""
    return {
        "steps_per_second": statistics.median(rule.wall),
        "adam_steps_per_learned_step": median_ratio(adam.wall, rule.wall),
        "adam_cpu_steps_per_learned_step": median_ratio(adam.cpu, rule.cpu),
    }


def costs(problem: Problem, rules: list[str], num_steps: int, num_windows: int) -> dict[str, Any]:
    """Of every rule, for one classifier."""
    data = random_data(problem)
    timed = {name: training(problem, name, data, num_steps) for name in (ADAM, *rules)}
    found = rates(timed, num_windows)
    return {
        "image_shape": problem.image_shape,
        "batch_size": problem.batch_size,
        "adam_steps_per_second": statistics.median(found[ADAM].wall),
        "rules": {rule: against_adam(found[rule], found[ADAM]) for rule in rules},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
