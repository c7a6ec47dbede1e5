import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.fft import dctn

from noiseproof import inner_loop
from noiseproof.rivals import RIVALS
from noiseproof.rivals.directions import SGD_RATIO
from noiseproof.rivals.frequency import add_frequency_penalty, frequency_penalty
from noiseproof.rivals.perturbations import by_depth, sharpness_aware
from noiseproof.tasks.quadratic import QuadraticData, quadratic
from noiseproof.types import Optimizer, Recipe, Regularization, TensorRole

TASK = quadratic(num_dimensions=3, noise_std=0.3)._replace(
    regularized_loss=lambda params, data, _regularization, key: TASK.loss(params, data, key)
)
DATA = QuadraticData(jnp.array([1.0, -2.0, 3.0]), jnp.zeros(3))
LAYOUT = {"weight": TensorRole("hidden", (), 0.5)}
VALUES = {"learning_rate": 0.05, "one_minus_momentum": 0.2, "weight_decay": 0.3, "growth": 1.0}
BETAS = {"one_minus_b2": 0.05}

TWINS = {
    "sgd": lambda schedule: optax.sgd(schedule, momentum=0.8),
    "adam": optax.adam,
    "adamw": lambda schedule: optax.adamw(schedule, weight_decay=0.3),
    "frequency": lambda schedule: optax.adamw(schedule, weight_decay=0.3),
    # A vector, which Muon leaves to AdamW.
    **dict.fromkeys(
        ("muon", "muon_ema", "muon_damp"),
        lambda schedule: optax.adamw(schedule, weight_decay=0.3, nesterov=True),
    ),
    "decayed_adam": optax.adam,
    **dict.fromkeys(
        ("decayed_muon", "muon_weight_space"),
        lambda schedule: optax.adam(schedule, nesterov=True),
    ),
    "autoft": lambda schedule: optax.adam(schedule, b1=0.8, b2=0.95),
}
"""What all that is added leaves when it is turned off; Adam where nothing is said."""


def losses_and_answer(recipe: Recipe):
    run = inner_loop.train(TASK, recipe, DATA, 7, jax.random.key(0))
    return run.losses, run.params["weight"]


def schedule_of(cosine: float, rate: float = 0.05) -> optax.Schedule:
    return optax.cosine_decay_schedule(rate, 7) if cosine else optax.constant_schedule(rate)


@functools.cache
def program(name: str):
    """One program for each rival; the values of its knobs are traced."""
    return jax.jit(lambda values: losses_and_answer(RIVALS[name].recipe(values, 7, LAYOUT)))


@functools.cache
def twin_of(build: Callable[[optax.Schedule], Optimizer], cosine: float, rate: float = 0.05):
    return jax.jit(losses_and_answer, static_argnums=0)(Recipe(build(schedule_of(cosine, rate))))


def momentum(schedule: optax.Schedule) -> Optimizer:
    return optax.sgd(schedule, momentum=0.8)


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_is_its_optax_twin_under_its_schedules(name: str) -> None:
    """With everything that the rival adds turned off: the same losses and answer."""
    twins = [((TWINS.get(name, optax.adam), cosine), {"cosine": cosine}) for cosine in (0.0, 1.0)]
    if "sgd" in RIVALS[name].knobs:
        rate = {"learning_rate": 0.001}
        twins.append(((momentum, 1.0, 0.001 * SGD_RATIO), {"cosine": 1.0, "sgd": 1.0, **rate}))
    for twin, values in twins:
        known = {**VALUES, **BETAS, **values}
        ours = program(name)({knob: known.get(knob, 0.0) for knob in RIVALS[name].knobs})
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, twin_of(*twin))


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
    ["weights_decay", "average_share", "rho", "noise_std", "one_minus_b2"],
)
def test_every_knob_of_the_joint_search_acts(knob: str) -> None:
    """Catches one that is drawn and dropped; the others stay off."""
    known = {**dict.fromkeys(RIVALS["autoft"].knobs, 0.0), **VALUES, **BETAS}
    known = {name: known[name] for name in RIVALS["autoft"].knobs} | {"weight_decay": 0.0}
    (_, without), (_, found) = program("autoft")(known), program("autoft")({**known, knob: 0.4})
    assert not np.allclose(found, without, rtol=1e-4)


KEY = jax.random.key(0)


def first_steps(optimizer: optax.GradientTransformation, params, grads) -> list:
    state, found = optimizer.init(params), []
    for scale in (1.0, -0.3, 2.0):
        moved = jax.tree.map(lambda leaf, scale=scale: scale * leaf + leaf**2, grads)
        updates, state = optimizer.update(moved, state, params)
        found.append(updates)
    return found


def test_muon_is_that_of_optax() -> None:
    """Filters, tall and wide matrices, vectors; three steps, so that the momentum counts.

    Catches filters that are left to Adam or turned on their side, another momentum, another size.
    """
    shapes = {"filter": (3, 3, 2, 4), "tall": (6, 3), "wide": (3, 6), "bias": (5,)}
    keys = jax.random.split(jax.random.key(0), 8)
    params, grads = (
        {
            name: jax.random.normal(key, shape)
            for (name, shape), key in zip(shapes.items(), own, strict=True)
        }
        for own in (keys[:4], keys[4:])
    )
    roles = {"filter": "first", "tall": "hidden", "wide": "readout", "bias": "bias"}
    layout = {name: TensorRole(kind, (), 0.5) for name, kind in roles.items()}
    values = {"learning_rate": 0.1, "weight_decay": 0.3, "cosine": 0.0}
    ours = RIVALS["muon"].recipe(values, 10, layout).optimizer

    def columns(params):
        def matrix(leaf):
            axes = range(leaf.ndim)
            numbers = optax.contrib.MuonDimensionNumbers
            return numbers(tuple(axes[:-1]), axes[-1]) if leaf.ndim > 1 else None

        return jax.tree.map(matrix, params)

    theirs = optax.contrib.muon(
        0.1,
        weight_decay=0.3,
        adam_weight_decay=0.3,
        muon_weight_dimension_numbers=columns,
        consistent_rms=0.2,
    )
    pairs = (first_steps(optimizer, params, grads) for optimizer in (ours, theirs))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5), *pairs)


def test_radii_grow_with_depth() -> None:
    """A step up a gradient of ones: radii by depth alone, their geometric mean that of SAM."""
    params = {"first": jnp.zeros(2), "last": jnp.zeros(2)}
    layout = {"first": TensorRole("first", (), 0.0), "last": TensorRole("readout", (), 1.0)}

    def moved(growth: float):
        perturb = sharpness_aware(0.1, by_depth(growth, layout))
        return perturb(params, lambda params: jax.tree.map(jnp.ones_like, params), KEY)

    plain = moved(1.0)
    np.testing.assert_allclose(plain["first"], 0.05, rtol=1e-5)
    np.testing.assert_allclose(plain["last"], 0.05, rtol=1e-5)
    grown = moved(4.0)
    # Scales ½ and 2 of the gradient, and again of the step: a ratio of 16, in units of norm ρ.
    np.testing.assert_allclose(grown["last"] / grown["first"], 16.0, rtol=1e-5)
    lengths = [grown["first"] / 0.5, grown["last"] / 2.0]
    assert float(jnp.linalg.norm(jnp.concatenate(lengths))) == pytest.approx(0.1, rel=1e-5)


def test_the_frequency_penalty_is_that_of_scipy() -> None:
    """Sums over the layers' coefficients of SciPy's DCT, and a gradient by differences."""
    filters = np.random.default_rng(0).normal(size=(3, 5, 2, 4)).astype(np.float32)
    role = TensorRole("first", (3, 5, 2), 0.0)
    coefficients = dctn(filters, axes=(0, 1), norm="ortho")
    norms = np.sqrt((coefficients**2).sum(axis=(2, 3)))
    square_frequencies = np.add.outer((np.arange(3) / 3) ** 2, (np.arange(5) / 5) ** 2)
    expected = (square_frequencies * norms).sum()
    assert float(frequency_penalty(role, jnp.array(filters))) == pytest.approx(expected, rel=1e-5)
    # A flat filter has none, and no gradient that is not a number.
    grads = jax.grad(lambda weight: frequency_penalty(role, weight))(jnp.zeros((3, 5, 2, 4)))
    assert float(jnp.abs(grads).max()) == 0.0


def test_the_frequency_penalty_is_added_to_filters_alone() -> None:
    params = {"filter": jnp.eye(9).reshape(3, 3, 1, 9), "bias": jnp.ones(9)}
    layout = {"filter": TensorRole("first", (3, 3, 1), 0.0), "bias": TensorRole("bias", (), 0.0)}
    transform = add_frequency_penalty(0.5, layout)
    zeros = optax.tree.zeros_like(params)
    added, _ = transform.update(zeros, transform.init(params), params)
    expected = jax.grad(lambda weight: frequency_penalty(layout["filter"], weight))
    np.testing.assert_allclose(added["filter"], 0.5 * expected(params["filter"]), rtol=1e-5)
    assert float(jnp.abs(added["bias"]).max()) == 0.0
    with pytest.raises(ValueError, match=r"The penalty needs params: call update\(grads, state"):
        transform.update(zeros, transform.init(params))
