import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof import inner_loop
from noiseproof.rivals.recipes import RIVALS, SGD_RATIO
from noiseproof.tasks.quadratic import QuadraticData, quadratic
from noiseproof.types import Recipe, Regularization, TensorRole

TASK = quadratic(num_dimensions=3, noise_std=0.3)._replace(
    regularized_loss=lambda params, data, _regularization, key: TASK.loss(params, data, key)
)
DATA = QuadraticData(jnp.array([1.0, -2.0, 3.0]), jnp.zeros(3))
LAYOUT = {"weight": TensorRole("hidden", (), 0.5)}
VALUES = {"learning_rate": 0.05, "one_minus_momentum": 0.2, "weight_decay": 0.3}

BETAS = {"one_minus_b1": 0.2, "one_minus_b2": 0.05}

TWINS = {
    "sgd": lambda schedule: optax.sgd(schedule, momentum=0.8),
    "adam": optax.adam,
    "adamw": lambda schedule: optax.adamw(schedule, weight_decay=0.3),
    # A vector, which Muon leaves to AdamW.
    "muon": lambda schedule: optax.adamw(schedule, weight_decay=0.3, nesterov=True),
    "decayed_adam": optax.adam,
    "autoft": lambda schedule: optax.adam(schedule, b1=0.8, b2=0.95),
}
"""What all that is added leaves when it is turned off; Adam where nothing is said."""
SGD_TWINS = {"autoft": 0.8}
"""Momentum where the base is SGD; .9 where nothing is said."""


@functools.partial(jax.jit, static_argnums=0)
def losses_and_answer(recipe: Recipe):
    run = inner_loop.train(TASK, recipe, DATA, 7, jax.random.key(0))
    return run.losses, run.params["weight"]


def schedule_of(cosine: float, rate: float = 0.05) -> optax.Schedule:
    return optax.cosine_decay_schedule(rate, 7) if cosine else optax.constant_schedule(rate)


def assert_twins(name: str, twin: optax.GradientTransformation, **values: float) -> None:
    """The same losses and answer, with everything that the rival adds turned off."""
    known = {**VALUES, **BETAS, **values}
    found = {knob: known.get(knob, 0.0) for knob in RIVALS[name].knobs}
    ours = losses_and_answer(RIVALS[name].recipe(found, 7, LAYOUT))
    theirs = losses_and_answer(Recipe(twin))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, theirs)


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("cosine", [0.0, 1.0])
def test_a_rival_is_its_optax_twin_under_its_schedule(name: str, cosine: float) -> None:
    assert_twins(name, TWINS.get(name, optax.adam)(schedule_of(cosine)), cosine=cosine)


@pytest.mark.parametrize("name", [name for name, rival in RIVALS.items() if "sgd" in rival.knobs])
def test_a_rival_may_add_to_momentum(name: str) -> None:
    twin = optax.sgd(schedule_of(1.0, 0.001 * SGD_RATIO), momentum=SGD_TWINS.get(name, 0.9))
    assert_twins(name, twin, cosine=1.0, sgd=1.0, learning_rate=0.001)


def recipe_of(name: str, **values: float) -> Recipe:
    known = dict.fromkeys(RIVALS[name].knobs, 0.0)
    return RIVALS[name].recipe({**known, "learning_rate": 0.05, **values}, 7, LAYOUT)


def test_rivals_of_the_loss_say_what_they_change() -> None:
    smoothed = recipe_of("label_smoothing", label_smoothing=0.2)
    assert smoothed.regularization == Regularization(label_smoothing=0.2)
    assert recipe_of("dropout", dropout=0.3).regularization == Regularization(dropout=0.3)
    both = recipe_of("autoft", label_smoothing=0.2, dropout=0.3)
    assert both.regularization == Regularization(0.2, 0.3)


@pytest.mark.parametrize(
    "knob",
    ["weights_decay", "average_share", "rho", "noise_std", "one_minus_b1", "one_minus_b2"],
)
def test_every_knob_of_the_joint_search_acts(knob: str) -> None:
    """Catches one that is drawn and dropped; the others stay off."""
    known = {"learning_rate": 0.05, **BETAS}
    _, without = losses_and_answer(recipe_of("autoft", **known))
    _, found = losses_and_answer(recipe_of("autoft", **{**known, knob: 0.4}))
    assert not np.allclose(found, without, rtol=1e-4)


def test_to_muon_a_filter_is_a_matrix_with_a_column_a_unit() -> None:
    """Catches filters that are left to Adam, or turned on their side."""
    filters = jax.random.normal(jax.random.key(0), (3, 3, 2, 4))
    values = {"learning_rate": 0.1, "weight_decay": 0.0, "cosine": 0.0}
    optimizer = RIVALS["muon"].recipe(values, 10, {}).optimizer

    def first_step(weight: jax.Array) -> jax.Array:
        updates, _ = optimizer.update(weight, optimizer.init(weight), jnp.zeros_like(weight))
        return updates

    flat = first_step(filters.reshape(18, 4))
    np.testing.assert_allclose(first_step(filters).reshape(18, 4), flat, atol=1e-6)
    assert float(jnp.sqrt(jnp.mean(flat**2))) == pytest.approx(0.1 * 0.2, rel=0.25)
