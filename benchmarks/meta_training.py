"""How fast meta-training goes, beside yardsticks measured in the same run.

The task: a 784-32-10 perceptron on seeded uint8 images, batch 64, `adafac_mlp` (39 inputs), PES
with 8 antithetic pairs, truncations of 20 in runs of 200. An inner step is one particle's step:
gradient, learned update, outer loss on a clean batch of 64. The yardsticks: 16 vectorized Adam
runs (jitted scan, the same batches, no outer loss), and a 1024³ matrix product. All are measured
in turn, window by window, and medians are printed.

    python benchmarks/meta_training.py --json results/benchmarks/meta_training.json

With `--scaling` instead: what an outer step costs from 4 to 256 pairs and, with 8 pairs, from 10 to
200 inner steps; the slope of its logarithm against theirs, 1 where the cost is proportional; and
the memory of a pair, by the formula of `noiseproof plan` and by the compiler.

    python benchmarks/meta_training.py --scaling --json results/benchmarks/scaling.json
"""

import argparse
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noiseproof import inner_loop
from noiseproof.metatrain import Objective, pes
from noiseproof.metatrain.footprint import footprint, pair_bytes
from noiseproof.metatrain.outer_loop import Plan, build_steps
from noiseproof.models import mlp
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.optimizers.layout import layout_of
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.meta_losses import Component, clean
from noiseproof.types import Batch, Recipe

IMAGE_SHAPE = (28, 28, 1)
NUM_IMAGES = 50_000
BATCH_SIZE = 64
NUM_STEPS = 200
TRUNCATION = 20
SGEMM_SIDE = 1024
SCALED_PAIRS = (4, 16, 64, 256)
SCALED_TRUNCATIONS = (10, 50, 200)
NUM_PAIRS = 8


class Timed(NamedTuple):
    """Attributes: work done a window, and what does it; it returns arrays to wait for."""

    work: float
    window: Callable[[], Any]


def random_data(seed: int = 0) -> Batch:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (NUM_IMAGES, *IMAGE_SHAPE), dtype=np.uint8)
    labels = generator.integers(0, 10, NUM_IMAGES).astype(np.int32)
    return Batch(jnp.asarray(images), jnp.asarray(labels))


def build_objective(rule: str) -> Objective:
    model = mlp(image_shape=IMAGE_SHAPE, num_classes=10, hidden_sizes=(32,))
    task = image_classification(
        model,
        batch_size=BATCH_SIZE,
        outer_batch_size=BATCH_SIZE,
        components=[Component(1.0, clean)],
    )
    layout = layout_of(jax.eval_shape(model.init, jax.random.key(0)), IMAGE_SHAPE)
    return Objective(task, LEARNED_OPTIMIZERS[rule](), layout, num_steps=NUM_STEPS)


def meta_training(
    rule: str, num_pairs: int, num_outer_steps: int, truncation: int = TRUNCATION
) -> tuple[Timed, float]:
    """Outer steps of meta-training, and the seconds that compiling took."""
    objective = build_objective(rule)
    estimator = pes(objective, truncation=truncation, num_pairs=num_pairs, std=0.01)
    plan = Plan(num_outer_steps=10**6, learning_rate=1e-4)
    steps = build_steps(objective, estimator, plan)
    key = jax.random.key(0)
    images = random_data()
    data = TaskData(images, images)
    began = time.perf_counter()
    state = jax.block_until_ready(steps.start(data, key, key))
    state = jax.block_until_ready(steps.advance(state, data, key)[0])
    seconds = time.perf_counter() - began

    def window() -> Any:
        nonlocal state
        for _ in range(num_outer_steps):
            state, found, _norm = steps.advance(state, data, key)
            jax.block_until_ready(found.meta_loss)
        return state.theta

    return Timed(num_outer_steps * estimator.num_inner_steps, window), seconds


def vectorized_adam(num_runs: int, num_steps: int) -> Timed:
    """Steps of Adam, all runs together, without an outer loss."""
    objective = build_objective("adafac_mlp")
    recipe = Recipe(optax.adam(1e-3))
    images = random_data()
    data = TaskData(images, images)

    @jax.jit
    def train(data: TaskData, keys: jax.Array) -> jax.Array:
        def one_run(key: jax.Array) -> jax.Array:
            return inner_loop.train(objective.task, recipe, data, num_steps, key).losses

        return jax.vmap(one_run)(keys)

    keys = jax.random.split(jax.random.key(0), num_runs)
    train(data, keys).block_until_ready()
    return Timed(num_runs * num_steps, lambda: train(data, keys))


def sgemm() -> Timed:
    """Floating-point operations of a square matrix product, in units of 10⁹."""
    matrix = jnp.asarray(np.random.default_rng(0).normal(size=(SGEMM_SIDE, SGEMM_SIDE)), "float32")
    product = jax.jit(lambda a, b: a @ b)
    product(matrix, matrix).block_until_ready()
    return Timed(20 * 2e-9 * SGEMM_SIDE**3, lambda: [product(matrix, matrix) for _ in range(20)])


def rates(timed: dict[str, Timed], num_windows: int) -> dict[str, tuple[list[float], list[float]]]:
    """Work per wall second and per CPU second of each, window by window in turn."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in timed}
    for index in range(num_windows + 1):
        for name, (work, window) in timed.items():
            wall, cpu = time.perf_counter(), time.process_time()
            jax.block_until_ready(window())
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if index > 0:  # the first window warms up
                found[name][0].append(work / wall)
                found[name][1].append(work / cpu)
    return found


def slope(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Of the logarithm of a cost against that of the size, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def scaling(rule: str, num_windows: int) -> dict[str, Any]:
    """Seconds of an outer step by pairs and by inner steps, measured in turn."""
    pairs = {("pairs", number): (number, 1, TRUNCATION) for number in SCALED_PAIRS}
    steps = {("inner_steps", number): (NUM_PAIRS, 1, number) for number in SCALED_TRUNCATIONS}
    record = {"rule": rule, "windows": num_windows, **memory_of_a_pair(rule)}
    timed = {name: meta_training(rule, *sizes)[0] for name, sizes in (pairs | steps).items()}
    found = rates(timed, num_windows)
    for axis, sizes in (("pairs", SCALED_PAIRS), ("inner_steps", SCALED_TRUNCATIONS)):
        for clock, column in (("wall", 0), ("cpu", 1)):
            seconds = {
                size: timed[axis, size].work / statistics.median(found[axis, size][column])
                for size in sizes
            }
            record[f"{clock}_seconds_by_{axis}"] = seconds
            record[f"{clock}_slope_by_{axis}"] = slope(sizes, list(seconds.values()))
    return record


def memory_of_a_pair(rule: str) -> dict[str, Any]:
    """By the formula of `noiseproof plan`, and what the compiler says that another pair adds."""
    objective, images, key = build_objective(rule), random_data(), jax.random.key(0)
    data, needed = TaskData(images, images), []
    for num_pairs in (NUM_PAIRS, 2 * NUM_PAIRS):
        estimator = pes(objective, truncation=TRUNCATION, num_pairs=num_pairs, std=0.01)
        steps = build_steps(objective, estimator, Plan(num_outer_steps=10, learning_rate=1e-4))
        state = jax.eval_shape(steps.start, data, key, key)
        memory = steps.advance.lower(state, data, key).compile().memory_analysis()
        parts = ("argument", "output", "temp")
        needed.append(sum(getattr(memory, f"{part}_size_in_bytes") for part in parts))
    need = footprint(objective, estimator, data, num_pairs)
    return {
        "pair_bytes_formula": "2 carried + 2 (2 params + activations) + 2 theta",
        "pair_bytes": {**need._asdict(), "in_all": pair_bytes(need)},
        "pair_bytes_by_the_compiler": (needed[1] - needed[0]) / NUM_PAIRS,
    }


def on_this_machine(record: dict[str, Any]) -> dict[str, Any]:
    """A record with what it was measured on."""
    return {
        **record,
        "device": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {name: version(name) for name in ("jax", "jaxlib", "numpy", "optax")},
    }


def speed(rule: str, num_pairs: int, num_outer_steps: int, num_windows: int) -> dict[str, Any]:
    """Inner steps per second, beside the yardsticks."""
    training, compile_seconds = meta_training(rule, num_pairs, num_outer_steps)
    # The process has done nothing else yet: its peak is that of meta-training.
    jax.block_until_ready(training.window())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    timed = {
        "meta_training": training,
        "vectorized_adam": vectorized_adam(2 * num_pairs, 100),
        "sgemm": sgemm(),
    }
    found = rates(timed, num_windows)
    median = {name: statistics.median(wall) for name, (wall, _) in found.items()}
    return {
        "rule": rule,
        "pairs": num_pairs,
        "windows": num_windows,
        "inner_steps_per_second": median["meta_training"],
        "inner_steps_per_second_range": [
            min(found["meta_training"][0]),
            max(found["meta_training"][0]),
        ],
        "per_cpu_second": statistics.median(found["meta_training"][1]),
        "compile_seconds": compile_seconds,
        "peak_mb": peak,
        "vmapped_adam_steps_per_second": median["vectorized_adam"],
        "ratio_to_vmapped_adam": median["meta_training"] / median["vectorized_adam"],
        "sgemm_gflops": median["sgemm"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rule", default="adafac_mlp", choices=LEARNED_OPTIMIZERS)
    parser.add_argument("--pairs", type=int, default=NUM_PAIRS)
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--outer-steps", type=int, default=10, help="outer steps a window")
    parser.add_argument("--scaling", action="store_true", help="cost by pairs and by inner steps")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.scaling:
        record = on_this_machine(scaling(options.rule, options.windows))
    else:
        measured = speed(options.rule, options.pairs, options.outer_steps, options.windows)
        record = on_this_machine(measured)
    print(json.dumps(record, indent=2))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
