"""What the card does a second: arithmetic, bytes, inner steps of meta-training and yardsticks."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noiseproof import inner_loop
from noiseproof.layouts.layout import layout_of
from noiseproof.metatrain import Objective, Window, flattened, nres
from noiseproof.models import convnet, mlp
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.rivals import RIVALS
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.mixtures import Component, clean
from noiseproof.tasks.outer_losses import mixture
from noiseproof.types import Batch, Model, Recipe, Task

TRUNCATION = 50
NUM_STEPS = 1000
PROBLEMS: dict[str, tuple[Callable[..., Model], tuple[int, int, int], int]] = {
    "fashion mlp": (partial(mlp, hidden_sizes=(32,)), (14, 14, 1), 64),
    "cifar convnet": (partial(convnet, channels=(8, 16, 32)), (16, 16, 3), 64),
    "celo2 mlp": (partial(mlp, hidden_sizes=(32,)), (8, 8, 1), 128),
}
"""Name -> classifier, image shape, batch. The last is the task of Moudgil, Knyazev, Belilovsky:
Celo2, arXiv 2602.19142, whose meta-training made 4,900 inner steps/s on an L40S."""

COMPILING_SHARE = 0.75
"""Of the time: what is not compiled by then is left out."""

SHIPPED = ("fashion mlp", "cifar convnet")


def median_seconds(call: Callable[[], Any], *, seconds: float = 1.0, most: int = 20) -> float:
    """Of a call that is repeated for so many seconds, after a first one."""
    jax.block_until_ready(call())
    times, began = [], time.perf_counter()
    while len(times) < 2 or (time.perf_counter() - began < seconds and len(times) < most):
        started = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def card(size: int) -> dict[str, Any]:
    """The device, and its products and copies of large arrays."""
    found: dict[str, Any] = {
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "jax": jax.__version__,
        "matrix_size": size,
    }
    for name, dtype, precision in (
        ("float32", jnp.float32, "highest"),
        ("tf32", jnp.float32, "default"),
        ("bfloat16", jnp.bfloat16, "default"),
    ):
        a = jax.random.normal(jax.random.key(0), (size, size), dtype)
        product = partial(jax.jit(partial(jnp.matmul, precision=precision)), a, a)
        found[f"tflops_{name}"] = 2 * size**3 / median_seconds(product) / 1e12
    array = jnp.zeros((4 * size, 4 * size), jnp.float32)
    copy = jax.jit(lambda x: x + 1.0)
    found["gigabytes_per_second"] = 2 * array.nbytes / median_seconds(lambda: copy(array)) / 1e9
    return found


def task_of(name: str) -> tuple[Task, Any, TaskData]:
    """A task, its layout and seeded noise for images."""
    build, shape, batch_size = PROBLEMS[name]
    model = build(image_shape=shape, num_classes=10)
    task = image_classification(
        model, batch_size=batch_size, outer_batch_size=64, outer_loss=mixture(Component(1.0, clean))
    )
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (10_000, *shape), dtype=np.uint8)
    labels = generator.integers(0, 10, 10_000).astype(np.int32)
    batch = Batch(jnp.asarray(images), jnp.asarray(labels))
    layout = layout_of(jax.eval_shape(model.init, jax.random.key(0)), shape)
    return task, layout, task.refresh(TaskData(batch, batch), jax.random.key(1))


def estimate_of(name: str, rule: str, num_pairs: int) -> tuple[Callable[[], Any], int]:
    """A compiled estimate by NRES that goes on and on, and its inner steps."""
    task, layout, data = task_of(name)
    learned = LEARNED_OPTIMIZERS[rule]()
    objective = flattened(Objective(task, learned, layout, NUM_STEPS, window=Window(10, 0.2)))[0]
    estimator = nres(objective, truncation=TRUNCATION, num_pairs=num_pairs, std=0.05)
    theta, key = objective.learned.init(jax.random.key(0)), jax.random.key(2)
    state = [jax.jit(estimator.init)(theta, data, key)]
    program = jax.jit(estimator.estimate, donate_argnums=1)
    compiled = program.lower(theta, state[0], data, key).compile()

    def call() -> Any:
        found, state[0] = compiled(theta, state[0], data, key)
        return found

    return call, estimator.num_inner_steps


def runs_of(name: str, optimizer: str, num_runs: int) -> tuple[Callable[[], Any], int]:
    """Compiled vectorized runs of a hand-designed optimizer, without outer losses."""
    task, layout, data = task_of(name)
    values = {"learning_rate": 1e-3, "weight_decay": 0.1, "cosine": 1.0}
    recipe = (
        Recipe(optax.adam(1e-3))
        if optimizer == "adam"
        else RIVALS[optimizer].recipe(values, NUM_STEPS, layout)
    )

    def advance(state: Any, data: Any, key: Any) -> Any:
        return inner_loop.advance(task, recipe, state, data, TRUNCATION, key)[0]

    keys = jax.random.split(jax.random.key(0), num_runs)
    start = jax.jit(jax.vmap(partial(inner_loop.init, task, recipe)))
    state = [start(keys)]
    program = jax.jit(jax.vmap(advance, in_axes=(0, None, 0)), donate_argnums=0)
    compiled = program.lower(state[0], data, keys).compile()

    def call() -> Any:
        state[0] = compiled(state[0], data, keys)
        return state[0].step

    return call, num_runs * TRUNCATION


def measure(
    out: Path,
    *,
    num_pairs: int,
    matrix_size: int,
    num_threads: int,
    seconds: float,
    names: Sequence[str] = SHIPPED,
) -> None:
    """All of it, into a record; of the tasks that presets are made of only those named."""
    ends = time.perf_counter() + seconds * COMPILING_SHARE
    record: dict[str, Any] = {"card": card(matrix_size), "truncation": TRUNCATION, "rates": []}
    print(f"  {record['card']}", flush=True)
    jobs: dict[tuple[str, str, int], Callable[[], tuple[Callable[[], Any], int]]] = {}
    for name in names:
        for rule in ("universal", "structured"):
            jobs[name, rule, num_pairs] = partial(estimate_of, name, rule, num_pairs)
        for rival in ("adam", "muon"):
            jobs[name, rival, 2 * num_pairs] = partial(runs_of, name, rival, 2 * num_pairs)
    for pairs in {8, num_pairs, 4 * num_pairs} if names else {num_pairs}:
        jobs["celo2 mlp", "universal", pairs] = partial(
            estimate_of, "celo2 mlp", "universal", pairs
        )
    jobs["celo2 mlp", "adam", 2 * num_pairs] = partial(runs_of, "celo2 mlp", "adam", 2 * num_pairs)

    def timed(job: Callable[[], tuple[Callable[[], Any], int]]) -> tuple[Any, int, float]:
        began = time.perf_counter()
        call, num_steps = job()
        return call, num_steps, time.perf_counter() - began

    pool = ThreadPoolExecutor(num_threads)
    waiting = {name: pool.submit(timed, job) for name, job in jobs.items()}
    done = {}
    for name, future in waiting.items():
        try:
            done[name] = future.result(timeout=max(ends - time.perf_counter(), 0.1))
        except Exception as error:  # one that fails or lasts must not cost the others
            print(f"  {name} failed: {error!r:.300}", flush=True)
    pool.shutdown(wait=False, cancel_futures=True)
    for (name, optimizer, count), (call, num_steps, compile_seconds) in done.items():
        call_seconds = median_seconds(call)
        record["rates"].append(
            {
                "problem": name,
                "optimizer": optimizer,
                "pairs_or_runs": count,
                "inner_steps_per_second": num_steps / call_seconds,
                "seconds_a_call": call_seconds,
                "compile_seconds_side_by_side": compile_seconds,
            }
        )
        out.write_text(json.dumps(record))
        print(
            f"  {name}, {optimizer}, {count}: {num_steps / call_seconds:,.0f} steps/s", flush=True
        )
