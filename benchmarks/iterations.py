"""What fewer Newton-Schulz iterations change: the loss that `universal` reaches, and its step.

The theta that ships was meta-trained with five of them. On the two problems whose rivals were
searched longest it trains classifiers with five, four and three, under the same seeds and images;
the outer loss on `select`, and its difference from five, are given with their standard errors, and
steps/s are measured in turn.

    python benchmarks/iterations.py --data-dir data --json results/benchmarks/iterations.json
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import jax
import numpy as np

from noiseproof import inner_loop
from noiseproof.experiment.build import build_experiment
from noiseproof.experiment.contestants import tuned_on
from noiseproof.experiment.distill import select_losses
from noiseproof.experiment.meta_trained import judged_alone, settings_of
from noiseproof.experiment.reading import with_settings
from noiseproof.metatrain import recipe_of
from noiseproof.optimizers import orthogonal
from noiseproof.zoo import load_learned
from windows import Timed, add_options, rates, report

OPTIMIZER = "universal"
ITERATIONS = (5, 4, 3)
CLASSIFIERS = {
    "convnet": [],
    "perceptron": ["model.kind=mlp", "model.hidden_sizes=[32]"],
}


def compared(changes: list[str], data_dir: Path | None, options: Any) -> dict[str, Any]:
    """Losses and steps/s of one classifier, by the number of iterations."""
    loaded = load_learned(OPTIMIZER)
    settings = judged_alone(settings_of(loaded, OPTIMIZER))
    experiment = build_experiment(with_settings(settings, changes, "settings"), data_dir)
    objective, data = experiment.problem.objective, experiment.problem.data
    key, losses, timed = jax.random.key(0), {}, {}

    def train(data: Any) -> jax.Array:
        recipe = recipe_of(objective, loaded.theta)
        return inner_loop.train(objective.task, recipe, data, options.steps, key).losses

    for number in ITERATIONS:
        # Read as a program is traced.
        orthogonal.NUM_ITERATIONS = number
        recipe = recipe_of(objective, loaded.theta)
        losses[number] = select_losses(
            tuned_on(experiment, objective.task), recipe, options.runs, seed=0
        )
        program = jax.jit(lambda data: train(data)).lower(data).compile()
        timed[number] = Timed(options.steps, lambda program=program: program(data))
    found = rates(timed, options.windows)
    return {
        str(number): {
            "loss": mean_and_error(losses[number]),
            "difference_from_five": mean_and_error(losses[number] - losses[ITERATIONS[0]]),
            "steps_per_second": statistics.median(found[number].wall),
        }
        for number in ITERATIONS
    }


def mean_and_error(values: np.ndarray) -> list[float]:
    """The mean and its standard error."""
    return [float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)]


def main() -> None:
    parser = argparse.ArgumentParser(description="What fewer Newton-Schulz iterations change.")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--runs", type=int, default=16, help="classifiers of each")
    parser.add_argument("--steps", type=int, default=400, help="a window")
    add_options(parser)
    options = parser.parse_args()
    record = {
        "optimizer": OPTIMIZER,
        "runs": options.runs,
        "classifiers": {
            name: compared(changes, options.data_dir, options)
            for name, changes in CLASSIFIERS.items()
        },
    }
    report(record, options.json)


if __name__ == "__main__":
    main()
