"""Several tasks at once: quadratics of two and of three dimensions, under one learned rate."""

import functools
import math
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof import metatrain
from noiseproof.inner_loop import Window
from noiseproof.metatrain import Objective, pes, target_of
from noiseproof.metatrain.joint import ON_CPU, Undrawn, mean_estimate
from noiseproof.metatrain.outer_loop import OuterState, Plan, meta_train
from noiseproof.tasks.quadratic import QuadraticData, quadratic
from noiseproof.types import LearnedOptimizer, MetaEstimate

# Compiling takes most of these tests' time, and half of it is spent on speed they do not need.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def clipped_descent() -> LearnedOptimizer:
    """Gradient descent with a learned rate; clipping by norm couples all tensors that it sees."""

    def optimizer(theta, _num_steps, _layout):
        return optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(jnp.exp(theta["log_rate"])))

    return LearnedOptimizer(lambda _key: {"log_rate": jnp.log(jnp.array(0.01))}, optimizer)


def objective_of(num_dimensions: int, *, noise_std: float = 0.0) -> Objective:
    task = quadratic(num_dimensions=num_dimensions, noise_std=noise_std)
    return Objective(task, clipped_descent(), None, num_steps=8, window=Window(max_loss=1e9))


NOISY = [objective_of(2, noise_std=1.0), objective_of(3, noise_std=1.0)]
DATA = (
    QuadraticData(jnp.ones(2), jnp.array([1.0, 2.0])),
    QuadraticData(-jnp.ones(3), jnp.array([3.0, 0.0, -1.0])),
)
THETA = {"log_rate": jnp.array(-2.0)}
WEIGHTS = [1.0, 3.0]
KEY = jax.random.key(5)
ESTIMATORS = [
    pes(one, truncation=4, num_pairs=number, std=0.1)
    for one, number in zip(NOISY, (3, 5), strict=True)
]


def joint(*parts, **options):
    """Of programs that compile in half the time."""
    quick = {"xla_backend_optimization_level": 0}
    with mock.patch.dict(ON_CPU, quick):
        return metatrain.joint(*parts, **options)


TARGET, JOINT = joint(NOISY, ESTIMATORS, weights=WEIGHTS)
UNDRAWN = tuple(Undrawn(own, KEY) for own in DATA)


def test_the_gradient_is_the_weighted_mean_of_the_single_ones() -> None:
    """Over two estimates, so that every state comes back to its own task."""
    alone = [(jit(one.init), jit(one.estimate)) for one in ESTIMATORS]
    state = JOINT.init(THETA, DATA, jax.random.key(0))
    keys = jax.random.split(jax.random.key(0), 2)
    singles = [init(THETA, *rest) for (init, _), *rest in zip(alone, DATA, keys, strict=True)]
    for step in (1, 2):
        found, state = JOINT.estimate(THETA, state, UNDRAWN, jax.random.key(step))
        keys = jax.random.split(jax.random.key(step), 2)
        parts = zip(alone, singles, DATA, keys, strict=True)
        own = [estimate(THETA, *rest) for (_, estimate), *rest in parts]
        singles = [after for _, after in own]
        for read in (lambda one: one.gradient["log_rate"], lambda one: one.meta_loss):
            expected = 0.25 * read(own[0][0]) + 0.75 * read(own[1][0])
            assert float(read(found)) == pytest.approx(float(expected), rel=1e-5)
            assert float(read(own[0][0])) != pytest.approx(float(read(own[1][0])), rel=0.01)
    assert JOINT.num_inner_steps == 2 * 4 * (3 + 5)


def estimate_of(gradient, meta_loss, ratio, diverged_share) -> MetaEstimate:
    return MetaEstimate(
        {"a": jnp.array(gradient)}, *map(jnp.array, (meta_loss, ratio, diverged_share))
    )


def stacked(*estimates: MetaEstimate) -> MetaEstimate:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *estimates)


def test_signal_and_noise_of_independent_estimates_add_up() -> None:
    """Gradients of (1.5, 0) ± 1 and (0, 2) ± 2 in their shares: (1.5, 2) ± √5."""
    found = mean_estimate(
        stacked(estimate_of([3.0, 0.0], 1.0, 1.5, 0.0), estimate_of([0.0, 4.0], 3.0, 1.0, 0.5)),
        jnp.array([0.5, 0.5]),
    )
    np.testing.assert_allclose(found.gradient["a"], [1.5, 2.0])
    assert float(found.signal_to_noise) == pytest.approx(2.5 / math.sqrt(5), rel=1e-5)
    assert float(found.meta_loss) == pytest.approx(2.0)
    assert float(found.diverged_share) == pytest.approx(0.25)


def test_a_task_that_diverged_spoils_nothing() -> None:
    nothing = estimate_of([0.0, 0.0], math.nan, math.nan, 1.0)
    both = stacked(nothing, estimate_of([0.0, 4.0], 3.0, 1.0, 0.0))
    found = mean_estimate(both, jnp.array([0.75, 0.25]))
    np.testing.assert_allclose(found.gradient["a"], [0.0, 1.0])
    assert float(found.meta_loss) == pytest.approx(3.0)
    assert float(found.diverged_share) == pytest.approx(0.5)
    assert math.isnan(float(found.signal_to_noise))
    assert math.isnan(float(mean_estimate(stacked(nothing), jnp.ones(1)).meta_loss))


def test_every_task_is_scored_by_itself_over_its_own_length() -> None:
    """Catches runs of the first task's length, weights left out, and draws that tasks share."""
    alone = [NOISY[0], NOISY[1]._replace(num_steps=16), NOISY[1]]
    data, keys = (*DATA, DATA[1]), jax.random.split(KEY, 3)
    target, _ = joint(alone, [*ESTIMATORS, ESTIMATORS[1]], weights=[1.0, 2.0, 1.0])
    found = target.score(THETA, target.refresh(data, KEY), 2, KEY)
    parts = zip(alone, data, keys, strict=True)
    own = [float(target_of(one).score(THETA, seen, 2, key)) for one, seen, key in parts]
    assert float(found) == pytest.approx(np.dot(own, [0.25, 0.5, 0.25]), rel=1e-5)
    assert len({round(loss, 4) for loss in own}) == 3


def test_every_task_has_a_pool_of_its_own() -> None:
    """Catches a pool that tasks share, and one that the program does not draw."""

    def refresh(data: QuadraticData, key: jax.Array) -> QuadraticData:
        return data._replace(target=jax.random.normal(key, data.target.shape))

    drawn = NOISY[0]._replace(task=NOISY[0].task._replace(refresh=refresh))
    target, _ = joint([drawn] * 2, ESTIMATORS[:1] * 2, weights=[1.0, 1.0])
    first, second = target.refresh((DATA[0],) * 2, jax.random.key(0))
    assert (jax.random.key_data(first.key) != jax.random.key_data(second.key)).any()
    own = [
        target_of(drawn).score(THETA, refresh(*one), 2, key)
        for one, key in zip((first, second), jax.random.split(KEY), strict=True)
    ]
    found = target.score(THETA, (first, second), 2, KEY)
    assert float(found) == pytest.approx(float(sum(own)) / 2, rel=1e-5)
    assert float(own[0]) != pytest.approx(float(own[1]), rel=0.01)


def test_tasks_take_their_turn() -> None:
    """Three tasks, two at once: 0 and 1, 2 and 0, 1 and 2. A task that waits keeps its runs."""
    data, undrawn = (*DATA, DATA[0]), (*UNDRAWN, UNDRAWN[0])
    estimators = [*ESTIMATORS, ESTIMATORS[0]]
    objectives, weights = [*NOISY, NOISY[0]], [1.0, 2.0, 3.0]
    _, turns = joint(objectives, estimators, weights=weights, at_once=2)
    state, keys = turns.init(THETA, data, jax.random.key(0)), jax.random.split(KEY, 3)
    parts = []
    assert turns.compile is not None
    told = []
    turns.compile(THETA, state, undrawn, KEY, on_program=lambda *counts: told.append(counts))
    # Two that end at once may tell the same count.
    assert len(told) == 3
    assert told[-1] == (3, 3)
    for step, taken in enumerate(((0, 1), (2, 0), (1, 2))):
        before = state
        found, state = turns.estimate(THETA, state, undrawn, keys[step])
        moved = [
            any(bool((new != old).any()) for new, old in zip(*map(leaves_of, pair), strict=True))
            for pair in zip(before.parts, state.parts, strict=True)
        ]
        assert moved == [index in taken for index in range(3)]
        own_keys = jax.random.split(keys[step], 2)
        parts.append((found, before, taken, own_keys))
    found, before, taken, own_keys = parts[1]
    own = [
        jit(estimators[index].estimate)(THETA, before.parts[index], data[index], key)[0]
        for index, key in zip(taken, own_keys, strict=True)
    ]
    # Shares 1/6, 2/6, 3/6 of all, times three tasks over two taken.
    expected = 1.5 * (own[0].gradient["log_rate"] / 2 + own[1].gradient["log_rate"] / 6)
    assert float(found.gradient["log_rate"]) == pytest.approx(float(expected), rel=1e-5)
    assert int(state.turn) == 0


def leaves_of(state) -> list:
    """The numbers of a state, those of keys included."""
    return [
        jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        for leaf in jax.tree.leaves(state)
    ]


def train_jointly(folder: Path, *, stop_after: int = 1000) -> OuterState:
    steps = []
    return meta_train(
        TARGET,
        JOINT,
        Plan(num_outer_steps=20, learning_rate=0.2, select_every=10, checkpoint_every=3),
        DATA,
        DATA,
        jax.random.key(0),
        folder=folder,
        resume=True,
        on_metrics=steps.append,
        should_stop=lambda: len(steps) + 1 >= stop_after,
    )


@pytest.mark.slow
def test_meta_training_on_both_learns_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole = train_jointly(tmp_path / "whole")
    assert float(whole.best_theta["log_rate"]) > math.log(0.02)
    with pytest.raises(KeyboardInterrupt):
        train_jointly(tmp_path / "parts", stop_after=7)
    parts = train_jointly(tmp_path / "parts")
    for name in ("theta", "best_select_loss", "estimator_state"):
        first, second = (leaves_of(getattr(state, name)) for state in (whole, parts))
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("number", "weights", "message"),
    [
        (0, [], "needs at least one task, got none"),
        (2, [1.0], "must be 2 weights of tasks, got 1"),
        (2, [1.0, 0.0], r"Weights of tasks must be positive, got \[1\.0, 0\.0\]"),
        (2, [1.0, math.nan], r"Weights of tasks must be positive, got \[1\.0, nan\]"),
        (1, [math.inf], r"Weights of tasks must be positive, got \[inf\]"),
    ],
)
def test_bad_weights(number, weights, message) -> None:
    with pytest.raises(ValueError, match=message):
        joint(NOISY[:number], ESTIMATORS[:number], weights=weights)
