"""Meta-training of `universal` over the tasks of its preset, for so many seconds.

Every task is a compiled program, and its inner runs go on from one estimate to the next. Programs
are compiled side by side in threads, and those that are ready take part: an outer step estimates
the meta-gradient of a few tasks in turn, each by itself, and follows their mean. The learning rate
falls with the time gone by, so that the run ends when its time does.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from noiseproof.checkpoint import save_theta
from noiseproof.data.dataset import Dataset
from noiseproof.experiment.problem import problem_of
from noiseproof.experiment.settings import Settings as TaskSettings
from noiseproof.metatrain import flattened, nres
from noiseproof.metatrain.run_lengths import log_uniform
from noiseproof.optimizers.groups import as_matrix
from noiseproof.types import Theta

MAX_NORM = 1.0
NUM_WARMUP_STEPS = 30
SAVE_EVERY = 30.0
LEAST_STEPS = 2
SHORTEST = 200
"""Steps of the shortest run of a task, whose longest is that of the preset."""
FAST_COMPILING = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}
"""Measuring kernels against each other takes longer than it saves in minutes of meta-training."""


class Settings(NamedTuple):
    """How meta-training goes.

    Attributes:
        seconds: Of the clock, compiling included.
        learning_rate: Peak of the outer Adam's.
        num_pairs: Antithetic pairs of a task.
        std: Of a perturbation of theta.
        truncation: Inner steps of an estimate.
        tasks_per_step: Tasks of an outer step.
        num_threads: Programs that are compiled at once.
    """

    seconds: float
    learning_rate: float = 6e-3
    num_pairs: int = 64
    std: float = 0.05
    truncation: int = 50
    tasks_per_step: int = 4
    num_threads: int = 14


class Program(NamedTuple):
    """A task's compiled estimate, and the runs under way."""

    name: str
    num_classes: int
    estimate: Any
    state: Any
    data: Any
    num_inner_steps: int


def compiler_options() -> dict[str, Any]:
    """What programs are compiled with."""
    return FAST_COMPILING if jax.default_backend() == "gpu" else {}


def make_program(
    name: str,
    task: TaskSettings,
    dataset: Dataset,
    initial: Theta,
    theta: jax.Array,
    settings: Settings,
    key: jax.Array,
) -> Program:
    """Builds a task, starts its runs and compiles its estimate."""
    built = problem_of(task, dataset)
    num_steps = built.objective.num_steps
    lengths = log_uniform(num_steps=num_steps, shortest=min(SHORTEST, num_steps))
    objective, _ = flattened(
        built.objective._replace(run_length=lengths), initial, as_matrix(initial)
    )
    estimator = nres(
        objective,
        truncation=settings.truncation,
        num_pairs=settings.num_pairs,
        std=settings.std,
    )

    def estimate(theta: jax.Array, state: Any, data: Any, key: jax.Array) -> tuple[Any, Any]:
        pool_key, pairs_key = jax.random.split(key)
        refreshed = built.objective.task.refresh(data, pool_key)
        found, state = estimator.estimate(theta, state, refreshed, pairs_key)
        return found, state

    options = compiler_options()
    state = jax.jit(estimator.init, compiler_options=options)(theta, built.data, key)
    program = jax.jit(estimate, donate_argnums=1, compiler_options=options)
    compiled = program.lower(theta, state, built.data, key).compile()
    classes = built.dataset.num_classes
    return Program(name, classes, compiled, state, built.data, estimator.num_inner_steps)


@jax.jit
def outer_update(
    theta: jax.Array, state: Any, gradients: Sequence[jax.Array], learning_rate: jax.Array
) -> tuple[jax.Array, Any]:
    """A step of Adam along the mean of the tasks' gradients, none longer than `MAX_NORM`."""

    def clipped(gradient: jax.Array) -> jax.Array:
        gradient = jnp.where(jnp.isfinite(gradient).all(), jnp.nan_to_num(gradient), 0.0)
        return gradient * jnp.minimum(1.0, MAX_NORM / (jnp.linalg.norm(gradient) + 1e-12))

    mean = jnp.stack([clipped(gradient) for gradient in gradients]).mean(axis=0)
    updates, state = outer_adam().update(mean, state)
    return optax.apply_updates(theta, optax.tree.scale(-learning_rate, updates)), state


def outer_adam() -> optax.GradientTransformation:
    return optax.scale_by_adam(b2=0.99)


def learning_rate_at(share: float, outer_step: int, peak: float) -> float:
    """Half a cosine over the time gone by, after a rise over the first steps."""
    rise = min(outer_step / NUM_WARMUP_STEPS, 1.0)
    return peak * rise * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))


def meta_train(
    tasks: Mapping[str, TaskSettings],
    datasets: Mapping[str, Dataset],
    initial: Theta,
    settings: Settings,
    out: Path,
    card: Mapping[str, Any],
    *,
    seed: int = 0,
) -> Theta:
    """Meta-trains; `out`.safetensors, `out`.json and `out`-training.json are written as it goes on.

    Returns:
        The mean of theta over the last tenth of the time.
    """
    began = time.monotonic()
    key = jax.random.key(seed)
    origin, directions = ravel_pytree(initial)[0], as_matrix(initial)
    unravel = ravel_pytree(initial)[1]
    theta = jnp.zeros(directions.shape[1])
    state = outer_adam().init(theta)
    lines: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []
    mean, num_meant = jnp.zeros_like(theta), 0
    outer_step, next_save = 0, SAVE_EVERY
    queue: list[str] = []
    first_ready = 0.0
    programs: dict[str, Program] = {}
    failures: dict[str, str] = {}
    pool = ThreadPoolExecutor(settings.num_threads)
    waiting: dict[str, Future[Program]] = {
        name: pool.submit(
            make_program,
            name,
            task,
            datasets[name],
            initial,
            theta,
            settings,
            jax.random.fold_in(key, index),
        )
        for index, (name, task) in enumerate(tasks.items())
    }

    def save(theta: jax.Array) -> None:
        seconds = time.monotonic() - began
        history.append({"outer_step": outer_step, "seconds": seconds, "theta": theta.tolist()})
        done = {
            "outer_steps": outer_step,
            "inner_steps": sum(line["inner_steps"] for line in lines),
            "seconds": seconds,
            "tasks": list(programs),
            "failed_to_compile": failures,
            "settings": settings._asdict(),
        }
        whole = unravel(origin + directions @ theta)
        save_theta(out.with_suffix(".safetensors"), whole, {**card, "meta_training": done})
        record = {"done": done, "lines": lines, "history": history}
        out.with_name(f"{out.name}-training.json").write_text(json.dumps(record))

    while (elapsed := time.monotonic() - began) < settings.seconds or outer_step < LEAST_STEPS:
        for name in [name for name, future in waiting.items() if future.done()]:
            future = waiting.pop(name)
            if future.exception() is not None:
                failures[name] = repr(future.exception())[:300]
                print(f"  {name} failed: {failures[name]}", flush=True)
                continue
            programs[name] = future.result()
            print(f"  {name} ready after {elapsed:.0f} s", flush=True)
        if not programs:
            if not waiting:
                raise RuntimeError(f"No program compiled: {failures}.")
            time.sleep(0.2)
            continue
        outer_step += 1
        first_ready = elapsed if outer_step == 1 else first_ready
        found = []
        for _ in range(min(settings.tasks_per_step, len(programs))):
            if not queue:
                generator = np.random.default_rng([seed, outer_step])
                queue = generator.permutation(list(programs)).tolist()
            name = queue.pop()
            own = programs[name]
            step_key = jax.random.fold_in(jax.random.fold_in(key, 10**6 + outer_step), len(found))
            estimate, new = own.estimate(theta, own.state, own.data, step_key)
            programs[name] = own._replace(state=new)
            found.append((own, estimate))
        share = (elapsed - first_ready) / max(settings.seconds - first_ready, 1e-9)
        rate = learning_rate_at(share, outer_step, settings.learning_rate)
        gradients = [one.gradient / math.log(own.num_classes) for own, one in found]
        theta, state = outer_update(theta, state, gradients, jnp.float32(rate))
        theta.block_until_ready()
        for own, one in found:
            lines.append(
                {
                    "outer_step": outer_step,
                    "seconds": round(time.monotonic() - began, 2),
                    "task": own.name,
                    "meta_loss": float(one.meta_loss),
                    "snr": float(one.signal_to_noise),
                    "gradient_norm": float(jnp.linalg.norm(one.gradient)),
                    "diverged_share": float(one.diverged_share),
                    "inner_steps": own.num_inner_steps,
                }
            )
        if elapsed > 0.9 * settings.seconds:
            mean, num_meant = mean + theta, num_meant + 1
        if elapsed > next_save:
            next_save = elapsed + SAVE_EVERY
            save(theta)
            print(f"  {elapsed:.0f} s: {outer_step} outer steps", flush=True)
    pool.shutdown(wait=False, cancel_futures=True)
    final = mean / num_meant if num_meant else theta
    save(final)
    return unravel(origin + directions @ final)
