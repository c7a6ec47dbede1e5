"""How fast meta-training goes, beside yardsticks measured in the same run.

The task: a 784-32-10 perceptron on seeded uint8 images, batch 64, `adafac_mlp` (39 inputs), PES
with 8 antithetic pairs, truncations of 20 in runs of 200, spread over devices as `noiseproof run`
does. An inner step is one particle's step: gradient, learned update, outer loss on a clean batch
of 64. The yardsticks: as many Adam and Muon runs as there are particles (jitted scan, the same
batches, no outer loss), vectorized on one device, and spread over as many devices; a large matrix
product and passes over a large array. All are measured in turn, window by window, and medians are
printed.

    python benchmarks/meta_training.py --json results/benchmarks/meta_training.json

`--rule`, `--estimator` and `--model` take another rule, estimator or classifier; what ships is of
`--rule structured --estimator nres`, and Celo2's task `--model celo2 --truncation 50`. On a GPU,
with enough particles to fill it:

    python benchmarks/meta_training.py --pairs 512 --json results/benchmarks/meta_training_gpu.json

Arithmetic and bytes a second (`gflops`, `gigabytes_per_second`) are the compiler's count for one
inner step of all particles, times the measured rate, beside those of the product and the passes;
bytes that stay in a cache are counted too, and may exceed what memory delivers.

All arrays are float32, and a CPU multiplies them so. By JAX's default a GPU that can rounds the
factors of matrix products to TF32, and nothing else; with `--matmul-precision highest` it does not,
nor does a run with JAX_DEFAULT_MATMUL_PRECISION=highest. The yardstick is of the precision in use.
"""

import argparse
import math
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noiseproof import inner_loop
from noiseproof.inner_loop import InnerState
from noiseproof.metatrain import Objective, nres, pes, recipe_of, target_of
from noiseproof.metatrain.memory import on_devices
from noiseproof.metatrain.outer_loop import Plan, build_steps
from noiseproof.metatrain.sharding import over_runs, pairs_mesh, replicate, use_all_cores
from noiseproof.metatrain.unrolling import start_run
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.rivals import RIVALS
from noiseproof.tasks.image_classification import TaskData
from noiseproof.types import Recipe, Theta
from problems import PROBLEMS, build_objective, random_data
from windows import Timed, add_options, median_ratio, rates, report

NUM_PAIRS = 8
TRUNCATION = 20
NUM_YARDSTICK_STEPS = 100

ESTIMATORS = {"pes": partial(pes, std=0.01), "nres": partial(nres, std=0.05)}

PRECISIONS = ("default", "high", "highest")
"""JAX's words for products of float32 matrices: as fast as may be, between, float32."""

YARDSTICK_SIZES = {"cpu": (1024, 2**25)}
LARGE_SIZES = (8192, 2**29)
"""Side of the matrices and numbers of the array that reach what a device can do."""


class Started(NamedTuple):
    """Attributes: outer steps by their program, their first state, what else they take: the data of
    the task, or of all tasks."""

    advance: Callable[..., Any]
    state: Any
    data: TaskData | tuple[TaskData, ...]
    key: jax.Array
    num_inner_steps: int


def start(
    objective: Objective, data: TaskData, num_pairs: int, truncation: int, name: str = "pes"
) -> Started:
    """Meta-training before its first outer step, which is compiled."""
    estimator = ESTIMATORS[name](objective, truncation=truncation, num_pairs=num_pairs)
    plan = Plan(num_outer_steps=10**6, learning_rate=1e-4)
    steps = build_steps(target_of(objective), estimator, plan)
    key = jax.random.key(0)
    state = jax.block_until_ready(steps.start(data, key, key))
    steps.programs(state, data, key)
    return Started(steps.advance, state, data, key, estimator.num_inner_steps)


def outer_steps(started: Started, num_outer_steps: int) -> Timed:
    """Windows of outer steps, each going on from the one before."""
    state = started.state

    def window() -> Any:
        nonlocal state
        for _ in range(num_outer_steps):
            state, found, _norm = started.advance(state, started.data, started.key)
            jax.block_until_ready(found.meta_loss)
        return state.theta

    return Timed(num_outer_steps * started.num_inner_steps, window)


def hand_designed(objective: Objective, recipe: Recipe, data: TaskData, num_runs: int) -> Timed:
    """Steps of all runs of a recipe, vectorized where that is faster, without an outer loss."""

    def one_run(data: TaskData, key: jax.Array) -> jax.Array:
        return inner_loop.train(objective.task, recipe, data, NUM_YARDSTICK_STEPS, key).losses

    train = jax.jit(over_runs(one_run, num_runs, objective.placement))
    keys = jax.random.split(jax.random.key(0), num_runs)
    return Timed(num_runs * NUM_YARDSTICK_STEPS, lambda: train(data, keys))


def muon(objective: Objective) -> Recipe:
    """Muon as a rival is built, at usual settings."""
    values = {"learning_rate": 1e-3, "weight_decay": 0.1, "cosine": 1.0}
    return RIVALS["muon"].recipe(values, NUM_YARDSTICK_STEPS, objective.layout)


def yardstick_sizes() -> tuple[int, int]:
    """Those of this platform."""
    return YARDSTICK_SIZES.get(jax.default_backend(), LARGE_SIZES)


def product() -> Timed:
    """Floating-point operations of a square matrix product, in units of 10⁹."""
    side = yardstick_sizes()[0]
    matrix = jnp.asarray(np.random.default_rng(0).normal(size=(side, side)), "float32")
    multiply = jax.jit(lambda a, b: a @ b)
    return Timed(20 * 2e-9 * side**3, lambda: [multiply(matrix, matrix) for _ in range(20)])


def passes() -> Timed:
    """Bytes read and written by passes over one large array, in units of 10⁹."""
    numbers = jnp.zeros(yardstick_sizes()[1])
    # In place, so that what is measured is not the system's clearing of new memory.
    negate = jax.jit(jnp.negative, donate_argnums=0)

    def window() -> Any:
        nonlocal numbers
        for _ in range(10):
            numbers = negate(numbers)
        return numbers

    return Timed(10 * 2e-9 * numbers.nbytes, window)


def step_cost(objective: Objective, data: TaskData, num_particles: int) -> dict[str, float]:
    """Arithmetic and bytes of one particle's inner step, as the compiler counts them."""
    task = objective.task
    data = jax.eval_shape(task.refresh, data, jax.random.key(0))
    thetas, runs, keys = jax.eval_shape(lambda: particles(objective, num_particles))

    def one_step(theta: Theta, run: InnerState, data: TaskData, key: jax.Array) -> Any:
        recipe = recipe_of(objective, theta)
        run, loss = inner_loop.step(task, recipe, run, data, key)
        return run, loss, inner_loop.meta_loss(task, recipe, run, data, key)

    steps = jax.jit(jax.vmap(one_step, in_axes=(0, 0, None, 0)))
    counted = steps.lower(thetas, runs, data, keys).compile().cost_analysis() or {}
    return {
        "flop": counted.get("flops", math.nan) / num_particles,
        "bytes": counted.get("bytes accessed", math.nan) / num_particles,
    }


def particles(objective: Objective, num: int) -> tuple[Theta, InnerState, jax.Array]:
    """Thetas, fresh runs and keys, along the first axis."""
    keys = jax.random.split(jax.random.key(0), num)
    thetas = jax.vmap(objective.learned.init)(keys)
    return thetas, jax.vmap(lambda theta, key: start_run(objective, theta, key))(thetas, keys), keys


def speed(
    objective: Objective,
    data: TaskData,
    estimator: str,
    num_pairs: int,
    truncation: int,
    num_outer_steps: int,
    num_windows: int,
) -> dict[str, Any]:
    """Inner steps per second, beside the yardsticks."""
    mesh = pairs_mesh(num_pairs)
    spread = objective._replace(placement=objective.placement._replace(mesh=mesh))
    own = replicate(data, mesh)
    began = time.perf_counter()
    started = start(on_devices(objective, mesh), own, num_pairs, truncation, estimator)
    training = outer_steps(started, 1)
    jax.block_until_ready(training.window())
    compile_seconds = time.perf_counter() - began
    training = outer_steps(started, num_outer_steps)
    jax.block_until_ready(training.window())
    # The process has done nothing else yet: its peak is that of meta-training.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    timed = {
        "meta_training": training,
        "adam": hand_designed(objective, Recipe(optax.adam(1e-3)), data, 2 * num_pairs),
        "spread_adam": hand_designed(spread, Recipe(optax.adam(1e-3)), own, 2 * num_pairs),
        "muon": hand_designed(objective, muon(objective), data, 2 * num_pairs),
        "spread_muon": hand_designed(spread, muon(objective), own, 2 * num_pairs),
        "product": product(),
        "passes": passes(),
    }
    found = rates(timed, num_windows)
    wall = found["meta_training"].wall
    cost = step_cost(objective, data, 2 * num_pairs)
    return {
        "pairs": num_pairs,
        "truncation": truncation,
        "windows": num_windows,
        "inner_steps_per_second": statistics.median(wall),
        "inner_steps_per_second_range": [min(wall), max(wall)],
        "per_cpu_second": statistics.median(found["meta_training"].cpu),
        "compile_seconds": compile_seconds,
        "peak_mb": peak,
        "vmapped_adam_steps_per_second": statistics.median(found["adam"].wall),
        "vmapped_muon_steps_per_second": statistics.median(found["muon"].wall),
        "spread_adam_steps_per_second": statistics.median(found["spread_adam"].wall),
        "spread_muon_steps_per_second": statistics.median(found["spread_muon"].wall),
        "ratio_to_vmapped_adam": median_ratio(wall, found["adam"].wall),
        "ratio_to_spread_adam": median_ratio(wall, found["spread_adam"].wall),
        "ratio_to_vmapped_muon": median_ratio(wall, found["muon"].wall),
        "ratio_to_spread_muon": median_ratio(wall, found["spread_muon"].wall),
        "ratio_to_vmapped_adam_by_cpu": median_ratio(found["meta_training"].cpu, found["adam"].cpu),
        "gflops": 1e-9 * cost["flop"] * statistics.median(wall),
        "sgemm_gflops": statistics.median(found["product"].wall),
        "gigabytes_per_second": 1e-9 * cost["bytes"] * statistics.median(wall),
        "pass_gigabytes_per_second": statistics.median(found["passes"].wall),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast meta-training goes.")
    parser.add_argument("--rule", default="adafac_mlp", choices=LEARNED_OPTIMIZERS)
    parser.add_argument("--model", default="mlp", choices=PROBLEMS)
    parser.add_argument("--estimator", default="pes", choices=ESTIMATORS)
    parser.add_argument("--pairs", type=int, default=NUM_PAIRS)
    parser.add_argument("--truncation", type=int, default=TRUNCATION, help="inner steps of one")
    parser.add_argument("--outer-steps", type=int, default=10, help="outer steps a window")
    parser.add_argument("--matmul-precision", default="default", choices=PRECISIONS)
    add_options(parser)
    options = parser.parse_args()
    use_all_cores()
    jax.config.update("jax_default_matmul_precision", options.matmul_precision)
    problem = PROBLEMS[options.model]
    objective, data = build_objective(problem, options.rule), random_data(problem)
    record = {
        "rule": options.rule,
        "estimator": options.estimator,
        "model": options.model,
        "matmul_precision": options.matmul_precision,
        **speed(
            objective,
            data,
            options.estimator,
            options.pairs,
            options.truncation,
            options.outer_steps,
            options.windows,
        ),
    }
    report(record, options.json)


if __name__ == "__main__":
    main()
