"""The outer loop: follow the estimated meta-gradient, keep the theta that `select` likes best.

Every outer step's randomness is folded from the run's key and the step's number, and all that a
step depends on is in the checkpoint, so that a run that was killed and resumed ends with the same
theta, bit for bit, as one that was not.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.stages import Compiled, Wrapped
from jaxtyping import Array, Float, Int, PRNGKeyArray, Scalar

from noiseproof.checkpoint import load_state, save_state
from noiseproof.metatrain.memory import check_fits, free_bytes, most_bytes
from noiseproof.metatrain.processes import any_process_stops, is_first_process
from noiseproof.metatrain.sharding import replicate
from noiseproof.metatrain.target import Target
from noiseproof.results import MetricsLine, append_metrics, truncate_metrics
from noiseproof.types import Data, GradientEstimator, MetaEstimate, OnProgram, Theta

METRICS_FILE = "metrics.jsonl"
CHECKPOINTS_FOLDER = "checkpoints"


class OuterState(NamedTuple):
    """Meta-training between two outer steps: all that a checkpoint holds.

    Attributes:
        theta: The learned optimizer as it is.
        optimizer_state: Of the outer optimizer.
        estimator_state: The inner runs under way.
        outer_step: Outer steps taken.
        initial_theta: The learned optimizer before the first outer step.
        best_theta: The theta of least loss on `select` so far.
        best_select_loss: That loss, in nats; infinite before the first.
        seconds: Wall-clock seconds so far.
    """

    theta: Theta
    optimizer_state: Any
    estimator_state: Any
    outer_step: Int[Array, ""]
    initial_theta: Theta
    best_theta: Theta
    best_select_loss: Scalar
    seconds: Float[Array, ""]


class Plan(NamedTuple):
    """How long and how fast to meta-train.

    Attributes:
        num_outer_steps: Outer steps in all.
        learning_rate: Peak of the outer Adam's learning rate.
        warmup_share: Share of the outer steps over which it rises from zero.
        max_norm: The meta-gradient is scaled down to this Euclidean norm.
        select_every: Outer steps between two scores on `select`.
        num_select_runs: Inner runs of a score; the same at every score.
        checkpoint_every: Outer steps between two checkpoints.
    """

    num_outer_steps: int
    learning_rate: float
    warmup_share: float = 0.05
    max_norm: float = 1.0
    select_every: int = 50
    num_select_runs: int = 8
    checkpoint_every: int = 50


def check_plan(plan: Plan) -> None:
    """Raises ValueError where a number of the plan makes no sense."""
    for name in ("num_outer_steps", "select_every", "num_select_runs", "checkpoint_every"):
        if getattr(plan, name) < 1:
            raise ValueError(f"{name} must be positive, got {getattr(plan, name)}.")
    for name in ("learning_rate", "max_norm"):
        if not getattr(plan, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(plan, name)}.")
    if not 0.0 <= plan.warmup_share < 1.0:
        raise ValueError(f"warmup_share must lie in [0, 1), got {plan.warmup_share}.")


def outer_optimizer(plan: Plan) -> optax.GradientTransformation:
    """Adam with warm-up, cosine and clipping by norm."""
    num_warmup = round(plan.warmup_share * plan.num_outer_steps)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, plan.learning_rate, num_warmup, plan.num_outer_steps
    )
    return optax.chain(optax.clip_by_global_norm(plan.max_norm), optax.adam(schedule))


class Steps(NamedTuple):
    """The compiled parts of the loop.

    Attributes:
        start: `(data, theta_key, runs_key) -> OuterState`, before the first outer step.
        advance: `(state, data, key) -> (state, MetaEstimate, gradient norm)`, one outer step,
            whose draws the key and the step's number fix.
        programs: `(state, data, key, on_program)` -> what an outer step runs, compiled;
            `on_program(done, total)` is called as each is there.
        refresh: `(data, key) -> data`, with a fresh pool of outer images.
        score: `(theta, data, key) -> loss`, of data with a pool.
        compile_score: Of the same arguments; the first score finds its program compiled. None where
            the estimator has programs of its own.
    """

    start: Wrapped
    advance: Callable[..., tuple[OuterState, MetaEstimate, Scalar]]
    programs: Callable[..., list[Compiled]]
    refresh: Wrapped
    score: Callable[..., Scalar]
    compile_score: Callable[..., Compiled] | None = None


def build_steps(target: Target, estimator: GradientEstimator, plan: Plan) -> Steps:
    """Builds the parts of the loop once, each traced once.

    Keys are arguments, so that the programs are the same for every seed. Where the estimator has
    programs of its own, they are called one by one.
    """
    optimizer = outer_optimizer(plan)

    def start(data: Data, theta_key: PRNGKeyArray, runs_key: PRNGKeyArray) -> OuterState:
        theta = target.init(theta_key)
        state = OuterState(
            theta=theta,
            optimizer_state=optimizer.init(theta),
            estimator_state=estimator.init(theta, data, runs_key),
            outer_step=jnp.zeros((), jnp.int32),
            initial_theta=theta,
            best_theta=theta,
            best_select_loss=jnp.array(jnp.inf),
            seconds=jnp.zeros(()),
        )
        return jax.tree.map(of_own_type, state)

    def advance(
        state: OuterState, data: Data, key: PRNGKeyArray
    ) -> tuple[OuterState, MetaEstimate, Scalar]:
        pool_key, pairs_key = jax.random.split(jax.random.fold_in(key, state.outer_step))
        data = target.refresh(data, pool_key)
        found, estimator_state = estimator.estimate(
            state.theta, state.estimator_state, data, pairs_key
        )
        updates, optimizer_state = optimizer.update(found.gradient, state.optimizer_state)
        state = state._replace(
            theta=optax.apply_updates(state.theta, updates),
            optimizer_state=optimizer_state,
            estimator_state=estimator_state,
            outer_step=state.outer_step + 1,
        )
        return state, found, optax.tree.norm(found.gradient)

    def score(theta: Theta, data: Data, key: PRNGKeyArray) -> Scalar:
        return target.score(theta, data, plan.num_select_runs, key)

    start, refresh = jax.jit(start), jax.jit(target.refresh)
    compile_all = estimator.compile
    if compile_all is None:
        whole = jax.jit(advance)

        def program(
            state: OuterState, data: Data, key: PRNGKeyArray, *, on_program: OnProgram = not_told
        ) -> list[Compiled]:
            # The first call of the program finds it compiled.
            compiled = whole.lower(state, data, key).compile()
            on_program(1, 1)
            return [compiled]

        scored = jax.jit(score)

        def compile_score(theta: Theta, data: Data, key: PRNGKeyArray) -> Compiled:
            return scored.lower(theta, data, key).compile()

        return Steps(start, whole, program, refresh, scored, compile_score)

    def programs(
        state: OuterState, data: Data, key: PRNGKeyArray, *, on_program: OnProgram = not_told
    ) -> list[Compiled]:
        undrawn = refresh(data, key)
        return compile_all(state.theta, state.estimator_state, undrawn, key, on_program=on_program)

    return Steps(start, advance, programs, refresh, score)


def not_told(_done: int, _total: int) -> None:
    """Of programs that nobody waits for."""


def of_own_type(leaf: Any) -> Array:
    """An array whose type is not that of a plain number, which gives way to the first array that it
    meets: the program that takes it would be compiled anew after the first step."""
    array = jnp.asarray(leaf)
    return array.astype(array.dtype) if jnp.issubdtype(array.dtype, jnp.number) else array


def meta_train(
    target: Target,
    estimator: GradientEstimator,
    plan: Plan,
    data: Data,
    select_data: Data,
    key: PRNGKeyArray,
    *,
    folder: Path | None = None,
    resume: bool = False,
    on_metrics: Callable[[MetricsLine], None] = lambda _line: None,
    on_program: OnProgram = not_told,
    should_stop: Callable[[], bool] = lambda: False,
) -> OuterState:
    """Meta-trains a learned optimizer.

    Args:
        target: What is minimized.
        estimator: How its gradient is estimated.
        plan: Outer steps, learning rate, scores, checkpoints.
        data: The task's data with the outer split.
        select_data: The task's data with the select split in its place.
        key: Fixes everything.
        folder: Where `checkpoints/` and `metrics.jsonl` go; nothing is written without it.
        resume: Whether to go on from the last good checkpoint in `folder`, if there is one.
        on_metrics: Called after every outer step.
        on_program: `(done, total)`, called as the programs of an outer step are compiled.
        should_stop: Asked after every outer step; if true, a checkpoint is written first.

    Raises:
        ValueError: The plan makes no sense, memory does not suffice, or a checkpoint is of
            another run.
        KeyboardInterrupt: `should_stop` was true.
    """
    check_plan(plan)
    steps = build_steps(target, estimator, plan)
    mesh = target.mesh
    data, select_data = replicate((data, select_data), mesh)
    theta_key, runs_key, steps_key, select_key = jax.random.split(key, 4)
    pool_key, score_key = jax.random.split(select_key)
    select_data = steps.refresh(select_data, pool_key)
    state = steps.start(data, theta_key, runs_key)
    if folder is not None and resume:
        state = restore(folder, state)
    if folder is not None and is_first_process():
        folder.mkdir(parents=True, exist_ok=True)
        truncate_metrics(folder / METRICS_FILE, int(state.outer_step))
    began = time.monotonic() - float(state.seconds)
    on_program(0, 1)
    with ThreadPoolExecutor(1) as pool:
        # On a core of its own while an outer step is compiled.
        if steps.compile_score is not None:
            pool.submit(steps.compile_score, state.theta, select_data, score_key)
        programs = steps.programs(state, data, steps_key, on_program=on_program)
    check_fits(most_bytes(programs), free_bytes())
    for step in range(int(state.outer_step) + 1, plan.num_outer_steps + 1):
        state, found, norm = steps.advance(state, data, steps_key)
        loss = None
        if is_due(step, plan.select_every, plan):
            state, loss = keep_best(state, steps.score(state.theta, select_data, score_key))
        stop, seconds = any_process_stops(should_stop(), time.monotonic() - began)
        state = state._replace(seconds=replicate(jnp.float32(seconds), mesh))
        line = MetricsLine(
            outer_step=step,
            meta_loss=float(found.meta_loss),
            select_loss=loss,
            inner_steps=step * estimator.num_inner_steps,
            seconds=seconds,
            snr=float(found.signal_to_noise),
            gradient_norm=float(norm),
            diverged_share=float(found.diverged_share),
        )
        stopping = stop and step < plan.num_outer_steps
        if folder is not None:
            # The line first: what a checkpoint has not reached is cut off again at a resume.
            if is_first_process():
                append_metrics(folder / METRICS_FILE, line)
            if stopping or is_due(step, plan.checkpoint_every, plan):
                save_state(folder / CHECKPOINTS_FOLDER, step, state)
        on_metrics(line)
        if stopping:
            raise KeyboardInterrupt
    return state


def restore(folder: Path, like: OuterState) -> OuterState:
    """The last good checkpoint, or `like` where there is none."""
    found = load_state(folder / CHECKPOINTS_FOLDER, like)
    return like if found is None else found[1]


def is_due(step: int, every: int, plan: Plan) -> bool:
    """Whether something that is done every few steps, and at the end, is done now."""
    return step % every == 0 or step == plan.num_outer_steps


def keep_best(state: OuterState, loss: Scalar) -> tuple[OuterState, float]:
    """The state with the better of the best theta so far and its own, and the loss as a float."""
    if loss < state.best_select_loss:
        state = state._replace(best_theta=state.theta, best_select_loss=loss)
    return state, float(loss)
