"""What an optimizer does, and theta with parts taken back."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import noiseproof as npf
from noiseproof import inner_loop
from noiseproof.optimizers.structured import rates_at
from noiseproof.optimizers.universal import no_exponents
from noiseproof.studies import ablation, behavior
from noiseproof.types import Recipe

KEY = jax.random.key(1)
RATE, DECAY = 0.1, 0.5
SGD = Recipe(optax.chain(optax.add_decayed_weights(DECAY), optax.sgd(RATE)))


def test_a_watched_run_is_the_run(small: Any) -> None:
    """Catches a run other than those that are judged, and a lost remainder."""
    found = jax.jit(lambda key: behavior.watch(small.task, SGD, small.data, 23, key))(KEY)
    plain = inner_loop.train(small.task, SGD, small.data, 23, KEY)
    for one, two in zip(*map(jax.tree.leaves, (found.run.params, plain.params)), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)
    assert found.weight_norms.shape == found.update_norms.shape == (23, 4)
    state = inner_loop.init(small.task, SGD, KEY)
    np.testing.assert_allclose(found.weight_norms[0], behavior.norms(state.params), rtol=1e-5)
    after, _ = inner_loop.step(small.task, SGD, state, small.data, KEY)
    moved = behavior.norms(optax.tree.sub(after.params, state.params))
    np.testing.assert_allclose(found.update_norms[0], moved, rtol=1e-4)
    np.testing.assert_array_equal(found.states.step, np.arange(1, 11) * 2)


def test_gradient_descent_answers_in_proportion_and_decays_alone(small: Any) -> None:
    """Known values: the step is rate × (factor × |gradient| + decay × overlap) over |weight|, and
    without a gradient the weights shrink by (1 - rate × decay) a step.
    """
    state = inner_loop.init(small.task, SGD, KEY)
    found = behavior.answers(small.task, SGD, small.data, state, KEY)
    grads = jax.grad(small.task.loss)(state.params, small.data, KEY)
    slope = RATE * behavior.norms(grads) / behavior.norms(state.params)
    lines = np.asarray(found.steps) - np.asarray(found.steps)[behavior.FACTORS.index(0.0)]
    weights = [1, 3]  # biases are zero at first
    np.testing.assert_allclose(
        lines[:, weights], np.outer(behavior.FACTORS, slope[jnp.array(weights)]), rtol=1e-3
    )
    shrunk = (1 - RATE * DECAY) ** np.arange(behavior.NUM_COASTING + 1)
    np.testing.assert_allclose(found.coasting[:, 1], shrunk, rtol=1e-4)


def test_a_run_that_is_too_short_to_watch_is_refused(small: Any) -> None:
    with pytest.raises(ValueError, match="num_steps must be at least 10 to watch, got 9"):
        behavior.watch(small.task, SGD, small.data, 9, KEY)


def some_theta() -> Any:
    zeros = npf.structured().init(KEY)
    return jax.tree.map(lambda leaf: 0.1 * jax.random.normal(KEY, leaf.shape), zeros)


def test_groups_are_taken_back_one_at_a_time(small: Any) -> None:
    """Catches a mean over kinds that the classifier does not have, and over the wrong axis."""
    theta = some_theta()
    used = ablation.used_rows(small.layout, small.model.init(KEY))
    assert used == {
        "step": [0, 2, 3],
        "orthogonal": [0, 2],
        "decay": [0, 2, 3],
        "bands": [0],
        "mean": [0],
    }
    found = ablation.ablated(theta, used)
    assert len(found) == 1 + 5 * 4 - 2  # no removed step, no mean shared by one layer
    assert found["as learned"] is theta
    for name, changed in found.items():
        different = [group for group in theta if not np.array_equal(theta[group], changed[group])]
        assert different == [] if name == "as learned" else len(different) == 1, name
    shared = found["decay shared"]["decay"]
    np.testing.assert_allclose(shared[4], theta["decay"][jnp.array([0, 2, 3])].mean(axis=0))
    constant = found["step constant"]["step"]
    np.testing.assert_allclose(constant[1], np.full(4, theta["step"][1].mean()), rtol=1e-5)
    for group, name in (("bands", "decays of bands"), ("orthogonal", "orthogonalized share")):
        removed = rates_at(found[f"{name} removed"], jnp.float32(0.4))
        assert float(removed[group].max()) < 1e-30


def test_exponents_go_back_to_theory_together(small: Any) -> None:
    theta = {**some_theta(), **no_exponents(), "step_sizes": jnp.ones((5, 2))}
    found = ablation.ablated(theta, {"step": [0]})
    assert (found["exponents at theory"]["step_sizes"] == 0).all()
    assert list(found) == [
        "as learned",
        "step at its start",
        "step constant",
        "exponents at theory",
    ]
