import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.rivals.averaging import averaged
from noiseproof.types import Recipe

GRADS = jnp.array([[1.0, -2.0], [0.5, 1.0], [3.0, 0.0], [-1.0, -1.0]])
START = jnp.array([1.0, 2.0])


def run(recipe, num_steps):
    """The answer after each step, and the weights trained."""
    params, state = START, recipe.optimizer.init(START)
    answers, iterates = [recipe.answer(params, state)], []
    for grads in GRADS[:num_steps]:
        updates, state = recipe.optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        answers.append(recipe.answer(params, state))
        iterates.append(params)
    return np.array(answers), np.array(iterates)


@pytest.mark.parametrize("num_steps", [0.7, 3.0, 1e4])
def test_the_answer_is_the_weighted_mean_of_iterates(num_steps):
    """Weights e^(-age / num_steps), brought to a sum of one: the plain sum, without a loop."""
    answers, iterates = run(averaged(Recipe(optax.sgd(0.3)), num_steps), 4)
    for step in range(1, 5):
        weights = np.exp(-np.arange(step)[::-1] / num_steps)
        expected = weights @ iterates[:step] / weights.sum()
        np.testing.assert_allclose(answers[step], expected, rtol=1e-5)


def test_before_the_first_step_the_answer_is_the_start():
    answers, _ = run(averaged(Recipe(optax.sgd(0.3)), 3.0), 1)
    np.testing.assert_array_equal(answers[0], START)


def test_over_no_steps_the_answer_is_the_last_iterate():
    answers, iterates = run(averaged(Recipe(optax.sgd(0.3)), 0.0), 4)
    np.testing.assert_allclose(answers[1:], iterates, rtol=1e-6)


def test_training_goes_on_as_without():
    _, averaging = run(averaged(Recipe(optax.adam(0.3)), 3.0), 4)
    _, plain = run(Recipe(optax.adam(0.3)), 4)
    np.testing.assert_allclose(averaging, plain, rtol=1e-6)


def test_only_optimizer_and_answer_change():
    recipe = Recipe(optax.adam(0.3), perturb=lambda params, *_: params + 1.0)
    assert averaged(recipe, 3.0).perturb is recipe.perturb


def test_needs_the_params():
    optimizer = averaged(Recipe(optax.sgd(0.3)), 3.0).optimizer
    with pytest.raises(ValueError, match=r"averaged needs params: call update\(grads, state"):
        optimizer.update(START, optimizer.init(START))


def test_many_lengths_at_once():
    """An axis of tuning."""

    @jax.vmap
    def answer(num_steps):
        recipe = averaged(Recipe(optax.sgd(0.3)), num_steps)
        state = recipe.optimizer.init(START)
        params = START
        for grads in GRADS:
            updates, state = recipe.optimizer.update(grads, state, params)
            params = optax.apply_updates(params, updates)
        return recipe.answer(params, state)

    lengths = jnp.array([0.0, 3.0])
    expected = [run(averaged(Recipe(optax.sgd(0.3)), float(one)), 4)[0][-1] for one in lengths]
    np.testing.assert_allclose(answer(lengths), expected, rtol=1e-5)
