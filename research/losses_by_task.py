"""What several thetas reach on each task of a preset: the outer loss on `select`, in nats.

Meta-training on several tasks minimizes their mean, and a theta may gain on one kind of them what
it loses on another. No test image is looked at.

    python research/losses_by_task.py universal --theta universal --theta runs/universal --json FILE
"""

import argparse
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
from jax.flatten_util import ravel_pytree

from noiseproof.experiment.build import build_experiment
from noiseproof.experiment.reading import load_preset
from noiseproof.metatrain.joint import ON_CPU, Undrawn, score_of
from noiseproof.metatrain.target import target_of
from noiseproof.zoo import load_learned

SEED = 7
"""Of the runs, the same for all thetas."""


def losses_by_task(
    preset: str,
    thetas: list[str],
    num_runs: int,
    data_dir: Path | None,
    said: Callable[[int, dict[str, float]], None],
) -> list[dict[str, float]]:
    """By theta, the mean loss of so many runs of every task, in nats; told as tasks are done."""
    # Thetas as they are, neither a start nor steps along groups.
    settings = load_preset(preset, ["meta.start=[]", "meta.grouped=false"])
    experiment = build_experiment(settings, data_dir)
    meta, fresh = experiment.meta, experiment.problem.objective.learned.init(jax.random.key(0))
    # Exponents that an older theta lacks are at their start.
    vectors = {name: ravel_pytree({**fresh, **load_learned(name).theta})[0] for name in thetas}
    keys = jax.random.split(jax.random.key(SEED), len(meta.objectives))
    options = ON_CPU if jax.default_backend() == "cpu" else {}

    def of_task(index: int) -> dict[str, float]:
        score = score_of(target_of(meta.objectives[index]))
        score = jax.jit(score, static_argnums=2, compiler_options=options)
        data = Undrawn(meta.select_data[index], keys[index])
        found = {name: score(row, data, num_runs, keys[index]) for name, row in vectors.items()}
        return {name: float(loss) for name, loss in found.items()}

    losses = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for index, found in enumerate(pool.map(of_task, range(len(meta.objectives)))):
            losses.append(found)
            said(index, found)
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description="Thetas on each task of a preset.")
    parser.add_argument("preset", help="of several tasks")
    parser.add_argument("--theta", action="append", required=True, help="a shipped name or a run")
    parser.add_argument("--runs", type=int, default=2, help="of each task")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = losses_by_task(
        *(options.preset, options.theta, options.runs, options.data_dir),
        lambda index, losses: print(
            index, *(f"{name} {loss:.3f}" for name, loss in losses.items())
        ),
    )
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
