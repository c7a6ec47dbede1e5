"""Steps under gradients of any scale, against Adam's own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.optimizers import structured
from noiseproof.optimizers.matrices import on_matrices
from noiseproof.optimizers.orthogonal import orthogonalized
from noiseproof.optimizers.scaled_adam import adam_direction, start_adam
from noiseproof.types import TensorRole
from noiseproof.zoo import load_learned, shipped_names

NUM_STEPS = 4
PARAMS = {"weight": jnp.ones((5, 3)) / 5, "bias": jnp.zeros(3)}
LAYOUT = {"weight": TensorRole("readout", (), 1.0), "bias": TensorRole("bias", (), 1.0)}
GRADS = {
    name: jnp.array(np.random.default_rng(0).normal(size=(NUM_STEPS, *leaf.shape)), jnp.float32)
    for name, leaf in PARAMS.items()
}
RULE = structured()


# Compiling takes most of these tests' time, and half of it is spent on speed they do not need.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@jit
def steps(theta, grads):
    """The updates of a few steps at the same params."""
    optimizer = RULE.optimizer(theta, 10, LAYOUT)

    def one(state, grads):
        updates, state = optimizer.update(grads, state, PARAMS)
        return state, updates

    return jax.lax.scan(one, optimizer.init(PARAMS), grads)[1]


@pytest.fixture(scope="module")
def theta():
    return load_learned(shipped_names()[0]).theta


@pytest.mark.parametrize("factor", [1e-30, 1e-25, 1e-8, 1e-3, 7.0, 1e20, 1e30])
def test_a_step_does_not_depend_on_the_unit_of_the_gradient(theta, factor):
    """Catches squares beyond single precision, and an ε in the gradient's own unit."""
    scaled = jax.tree.map(lambda leaf: leaf * jnp.float32(factor), GRADS)
    found, expected = steps(theta, scaled), steps(theta, GRADS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5), found, expected)


def test_a_gradient_that_grows_later_is_no_other():
    """Catches averages that are left in the unit of the first gradient."""
    factors = jnp.array([1e-6, 1e-3, 1.0, 1e3])[:, None]
    grads = factors * GRADS["bias"]
    adam = optax.scale_by_adam(eps=0.0)
    state, twin = start_adam(PARAMS["bias"]), adam.init(PARAMS["bias"])
    for grad in grads:
        found, state = adam_direction(grad, state)
        expected, twin = adam.update(grad, twin)
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_gradients_of_zero_and_none_finite_leave_the_scale():
    state = start_adam(PARAMS["bias"])
    zero, state = adam_direction(jnp.zeros(3), state)
    np.testing.assert_array_equal(zero, 0.0)
    _, after = adam_direction(jnp.array([jnp.nan, 1.0, jnp.inf]), state)
    assert int(after.exponent) == int(state.exponent)


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_steps_are_as_when_they_were_meta_trained(name):
    """With optax's own Adam, whose ε of 1e-8 is absolute: of gradients of about 1 no more than 1e-6
    of a step."""
    theta = load_learned(name).theta
    kinds = {"weight": 2, "bias": 3}
    adam = optax.scale_by_adam()
    state = adam.init(PARAMS)
    found = steps(theta, GRADS)
    for step in range(NUM_STEPS):
        directions, state = adam.update(jax.tree.map(lambda leaf, at=step: leaf[at], GRADS), state)
        for leaf, row in kinds.items():
            fraction = step / 10 * (theta["step"].shape[1] - 1)
            at = functools.partial(np.interp, fraction, np.arange(theta["step"].shape[1]))
            shrinkage = max(0.5 * (1 + np.cos(np.pi * step / 10)), 0.01)
            size = 3e-3 * shrinkage * np.exp(10 * at(theta["step"][row]))
            decay = 0.1 * np.exp(10 * at(theta["decay"][row]))
            direction = np.float64(directions[leaf])
            if leaf == "weight":
                share = 1 / (1 + np.exp(-10 * at(theta["orthogonal"][row])))
                mu = orthogonalized(optax.tree.get(state, "mu")[leaf])
                direction = (1 - share) * direction + share * np.float64(mu)
            expected = -size * (direction + decay * np.float64(PARAMS[leaf]))
            largest = np.abs(expected).max()
            # Rates are exponentials of single-precision numbers of about 10, good to 1e-6.
            np.testing.assert_allclose(found[leaf][step], expected, atol=3e-6 * largest)


@pytest.mark.parametrize(
    ("order", "role"),
    [
        ((3, 2, 0, 1), TensorRole("hidden", (3, 2, 4), 0.5, (2, 3, 1), (0,))),
        ((2, 3, 0, 1), TensorRole("hidden", (3, 2, 4), 0.5, (2, 3, 0), (1,))),
    ],
)
def test_filters_are_the_same_matrices_whatever_their_axes(order, role):
    """Catches filters of outputs first that are orthogonalized, or smoothed, over other axes."""
    plain = TensorRole("hidden", (3, 2, 4), 0.5)
    rng = np.random.default_rng(1)
    param, grads = (jnp.array(rng.normal(size=(3, 2, 4, 6)), jnp.float32) for _ in range(2))
    theta = RULE.init(jax.random.key(0))

    @functools.partial(jit, static_argnums=0)
    def update(role, param, grads):
        optimizer = RULE.optimizer(theta, 10, role)
        return optimizer.update(grads, optimizer.init(param), param)[0]

    found = update(role, param.transpose(order), grads.transpose(order))
    np.testing.assert_allclose(found, update(plain, param, grads).transpose(order), rtol=1e-4)


def test_heads_are_of_the_outputs_and_stacks_are_apart():
    stack = jax.random.normal(jax.random.key(0), (2, 4, 3, 5))
    role = TensorRole("hidden", (), 0.5, (1,), (2, 3))

    @jit
    def both(stack):
        alone = [orthogonalized(one.reshape(4, 15)).reshape(4, 3, 5) for one in stack]
        return on_matrices(orthogonalized, role, stack), jnp.stack(alone)

    np.testing.assert_allclose(*both(stack), atol=1e-5)


def test_a_weight_without_a_gradient_has_a_derivative() -> None:
    """Catches the root of zero, whose derivative is infinite, times a change of zero: nan."""

    def moved(scale: jax.Array) -> jax.Array:
        grads = {"weight": scale * jnp.array([1.0, 0.0])}
        direction, _ = adam_direction(grads, start_adam(grads))
        return (direction["weight"] * scale).sum()

    # Adam's first step is the sign, whatever the scale: its derivative is that of the factor.
    assert float(jax.grad(moved)(jnp.array(2.0))) == pytest.approx(1.0, rel=1e-4)
