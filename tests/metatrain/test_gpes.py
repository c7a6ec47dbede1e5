"""Persistent perturbations: what runs go on with, and what their losses are credited to."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.inner_loop import Window
from noiseproof.metatrain import nres, pes
from noiseproof.metatrain.gpes import gpes

TRUNCATION = 3
NUM_TRUNCATIONS = 4


def follow(affine, estimator, num_estimates, *, data=None):
    """The estimates at a fixed theta, one after the other, and the states after each."""
    estimate = jax.jit(estimator.estimate)
    data = affine.data if data is None else data
    state = jax.jit(estimator.init)(affine.theta, data, jax.random.key(0))
    found, states = [], [state]
    for step in range(num_estimates):
        one, state = estimate(affine.theta, state, data, jax.random.key(step + 1))
        found.append(one)
        states.append(state)
    return found, states


def pushes(tree):
    return np.asarray(tree["push"])


@pytest.fixture(scope="module")
def pes_run(affine):
    """Thirteen estimates of PES with four pairs."""
    return follow(affine, pes(affine.objective, truncation=TRUNCATION, num_pairs=4, std=0.5), 13)


def test_runs_are_staggered(pes_run):
    """First runs end one truncation apart; all others are whole, so that every age is present."""
    _, states = pes_run
    ages = np.array([state.age for state in states[1:]])
    np.testing.assert_array_equal(
        ages[:4].T, [[1, 2, 3, 4], [1, 2, 3, 1], [1, 2, 1, 2], [1, 1, 2, 3]]
    )
    for row in ages[4:]:
        assert sorted(row) == [1, 2, 3, 4]
    for state in states:
        np.testing.assert_array_equal(
            state.carry.runs.step, TRUNCATION * np.stack([state.age] * 2, axis=1)
        )


@pytest.mark.parametrize("num_pairs", [1, 3, 4, 7, 8])
def test_any_number_of_pairs_is_staggered_evenly(affine, num_pairs):
    """No first run is empty or too long, and the lengths occur as evenly as they can."""
    estimator = pes(affine.objective, truncation=TRUNCATION, num_pairs=num_pairs, std=0.5)
    state = estimator.init(affine.theta, affine.data, jax.random.key(0))
    counts = np.bincount(state.last, minlength=NUM_TRUNCATIONS + 1)
    assert counts.sum() == num_pairs
    assert counts[0] == 0
    assert len(counts) == NUM_TRUNCATIONS + 1
    assert counts[1:].max() - counts[1:].min() <= 1


def test_pairs_have_draws_of_their_own(pes_run):
    """And a new run other weights and batches than the one before it."""
    _, states = pes_run
    weights = np.asarray(states[0].carry.runs.params["weight"])
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    assert len(np.unique(weights[:, 0], axis=0)) == 4
    keys = np.concatenate([jax.random.key_data(state.run_key) for state in states[:9]])
    # Four first runs, of which three end and are followed by two and one by one in eight estimates.
    began = 4 + sum(int((state.age == 1).sum()) for state in states[2:9])
    assert len(np.unique(keys, axis=0)) == began


def test_pes_adds_up_new_perturbations(pes_run):
    """xi is the sum of the run's eps, from its first on."""
    _, states = pes_run
    for before, after in pairwise(states):
        fresh = np.asarray(after.age == 1)[:, None]
        carried = np.where(fresh, 0.0, pushes(before.carry.xi))
        np.testing.assert_allclose(
            pushes(after.carry.xi), carried + pushes(after.carry.eps), rtol=1e-5
        )
        assert (pushes(after.carry.eps) != pushes(before.carry.eps)).all()


def test_nres_keeps_one_perturbation_a_run(affine):
    estimator = nres(affine.objective, truncation=TRUNCATION, num_pairs=4, std=0.5)
    _, states = follow(affine, estimator, 9)
    for before, after in pairwise(states):
        fresh = np.asarray(after.age == 1)
        np.testing.assert_array_equal(pushes(after.carry.xi), pushes(after.carry.eps))
        np.testing.assert_array_equal(
            pushes(after.carry.eps)[~fresh], pushes(before.carry.eps)[~fresh]
        )
        assert (pushes(after.carry.eps)[fresh] != pushes(before.carry.eps)[fresh]).all()


def test_between_the_two_a_perturbation_lasts_some_truncations(affine):
    """Catches an age that is counted from 1."""
    estimator = gpes(
        affine.objective, truncation=TRUNCATION, num_pairs=1, std=0.5, resample_every=2
    )
    _, states = follow(affine, estimator, 4)
    eps = [pushes(state.carry.eps)[0] for state in states[1:]]
    np.testing.assert_array_equal(eps[0], eps[1])
    np.testing.assert_array_equal(eps[2], eps[3])
    assert (eps[1] != eps[2]).all()
    np.testing.assert_allclose(pushes(states[-1].carry.xi)[0], eps[1] + eps[3], rtol=1e-5)


def test_the_last_loss_of_a_run_is_credited_to_all_its_perturbations(affine):
    """Only it counts here, and the estimate is its slope along xi, not along eps."""
    objective = affine.objective._replace(window=Window(last_share=1 / 12, max_loss=1e9))
    estimator = pes(objective, truncation=TRUNCATION, num_pairs=1, std=0.5)
    found, states = follow(affine, estimator, 4)
    for early in found[:3]:
        np.testing.assert_array_equal(pushes(early.gradient), 0.0)
    end = states[-1]
    above, below = (
        float(objective.task.meta_loss({"weight": weight}, affine.data, jax.random.key(0)))
        for weight in end.carry.runs.params["weight"][0]
    )
    # One loss of twelve counts twelve times, and is one of the three of its truncation.
    slope = 12 * (above - below) / 3 / (2 * 0.5)
    np.testing.assert_allclose(
        pushes(found[3].gradient), slope * pushes(end.carry.xi)[0], rtol=1e-4
    )
    assert not np.allclose(pushes(end.carry.xi), pushes(end.carry.eps), rtol=0.1)


def test_credit_to_the_last_perturbation_alone_is_biased(affine):
    """The power of the contract's test: what it would see if xi were forgotten.

    Whole-run estimates of independent replicas, four pairs each, against the exact gradient:
    with xi within four standard errors, std / √replicas, without it more than ten off.
    """
    estimator = pes(affine.sure, truncation=TRUNCATION, num_pairs=4, std=0.5)

    def replica(key, forget):
        def one(state, key):
            xi = jax.tree.map(lambda leaf: jnp.where(forget, 0.0, leaf), state.carry.xi)
            state = state._replace(carry=state.carry._replace(xi=xi))
            found, state = estimator.estimate(affine.theta, state, affine.data, key)
            return state, found.gradient["push"]

        init_key, key = jax.random.split(key)
        state = estimator.init(affine.theta, affine.data, init_key)
        keys = jax.random.split(key, 2 * NUM_TRUNCATIONS)
        return jax.lax.scan(one, state, keys)[1][NUM_TRUNCATIONS:].mean(axis=0)

    keys = jax.random.split(jax.random.key(1), 400)
    replicas = jax.jit(jax.vmap(replica, in_axes=(0, None)))

    def errors_off(forget):
        gradients = replicas(keys, forget)
        error = gradients.std(axis=0, ddof=1) / len(gradients) ** 0.5
        return np.abs(gradients.mean(axis=0) - affine.exact) / error

    assert errors_off(False).max() < 4
    assert errors_off(True).max() > 10


def test_a_diverged_pair_comes_back_with_its_next_run(affine):
    """Catches a nan that survives the choice between the old run and a fresh one."""
    estimator = pes(affine.objective, truncation=TRUNCATION, num_pairs=4, std=0.5)
    estimate = jax.jit(estimator.estimate)
    state = estimator.init(affine.theta, affine.data, jax.random.key(0))
    broken = affine.data._replace(target=jnp.full(2, jnp.nan, jnp.float32))
    _, state = estimate(affine.theta, state, broken, jax.random.key(1))
    shares = []
    for step in range(NUM_TRUNCATIONS):
        found, state = estimate(affine.theta, state, affine.data, jax.random.key(step + 2))
        shares.append(float(found.diverged_share))
    assert shares == [0.75, 0.5, 0.25, 0.0]


def test_one_truncation_a_run_leaves_nothing_to_reuse(affine):
    """Then PES and NRES are the same."""
    found = [
        follow(affine, builder(affine.objective, truncation=12, num_pairs=3, std=0.5), 2)[0][1]
        for builder in (pes, nres)
    ]
    jax.tree.map(np.testing.assert_array_equal, *found)


@pytest.mark.parametrize("builder", [pes, nres])
@pytest.mark.parametrize(
    ("truncation", "message"),
    [
        (0, "truncation must divide num_steps = 12, got 0; the nearest that does is 1"),
        (5, "truncation must divide num_steps = 12, got 5; the nearest that does is 4"),
        (24, "truncation must divide num_steps = 12, got 24; the nearest that does is 12"),
        (2, "truncation must be a multiple of loss_interval = 4, got 2"),
    ],
)
def test_truncations_must_fill_the_run(affine, builder, truncation, message):
    objective = affine.objective._replace(window=Window(loss_interval=4))
    with pytest.raises(ValueError, match=message):
        builder(objective, truncation=truncation, num_pairs=2, std=0.5)


def test_a_perturbation_must_last(affine):
    with pytest.raises(ValueError, match="resample_every must be positive, got 0"):
        gpes(affine.objective, truncation=3, num_pairs=2, std=0.5, resample_every=0)
