"""`nominal_mlp` without its network is AdamW, and with it, AdamW and what the network says."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.optimizers import nominal_mlp

NUM_STEPS = 12


def silent(theta):
    """Theta whose network says nothing."""
    network = dict(theta["network"])
    network["weight_1"], network["bias_1"] = jnp.zeros((2, 16)), jnp.zeros(2)
    return {**theta, "network": network}


def trajectory(optimizer, params, gradients):
    def one_step(carry, grads):
        params, state = carry
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    return jax.jit(jax.lax.scan, static_argnums=0)(
        one_step, (params, optimizer.init(params)), gradients
    )[1]


@pytest.fixture
def params():
    rng = np.random.default_rng(0)
    return {"weight": jnp.array(rng.normal(size=(4, 3)), jnp.float32), "bias": jnp.ones(3)}


@pytest.fixture
def gradients():
    rng = np.random.default_rng(1)
    shapes = {"weight": (NUM_STEPS, 4, 3), "bias": (NUM_STEPS, 3)}
    return {name: jnp.array(rng.normal(size=s), jnp.float32) for name, s in shapes.items()}


@pytest.mark.parametrize("decay", [0.01, 0.5])
def test_a_silent_network_leaves_adamw_with_a_cosine(decay, params, gradients):
    """Catches a missing bias correction, and a decay that is not decoupled or not scheduled."""
    learned = nominal_mlp(initial_step=0.02, initial_decay=decay)
    theta = silent(learned.init(jax.random.key(0)))
    found = trajectory(learned.optimizer(theta, NUM_STEPS, None), params, gradients)
    schedule = optax.cosine_decay_schedule(0.02, NUM_STEPS)
    adamw = optax.adamw(schedule, weight_decay=decay)
    expected = trajectory(adamw, params, gradients)
    # Twelve steps of 0.02 whose root of 1 - 0.999^t is good to 3e-5.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)


def test_without_decay_it_is_adam(params, gradients):
    learned = nominal_mlp(initial_step=0.02, initial_decay=1e-9)
    theta = silent(learned.init(jax.random.key(0)))
    found = trajectory(learned.optimizer(theta, NUM_STEPS, None), params, gradients)
    adam = optax.adam(optax.cosine_decay_schedule(0.02, NUM_STEPS))
    expected = trajectory(adam, params, gradients)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)


def first_change(learned, theta, params, gradients):
    optimizer = learned.optimizer(theta, NUM_STEPS, None)
    grads = jax.tree.map(lambda leaf: leaf[0], gradients)
    return jax.jit(optimizer.update)(grads, optimizer.init(params), params)[0]["weight"]


def test_step_and_decay_are_learned_on_logarithmic_scales(params, gradients):
    """A unit of either is e^10, so that 0.1 is one e-fold."""
    learned = nominal_mlp(initial_step=0.02, initial_decay=0.5)
    theta = silent(learned.init(jax.random.key(0)))
    at_start = first_change(learned, theta, params, gradients)
    larger = first_change(learned, {**theta, "log_step": jnp.array(0.1)}, params, gradients)
    np.testing.assert_allclose(larger, np.e * at_start, rtol=1e-4)
    decayed = first_change(learned, {**theta, "log_decay": jnp.array(0.1)}, params, gradients)
    expected = at_start - 0.02 * 0.5 * (np.e - 1) * params["weight"]
    np.testing.assert_allclose(decayed, expected, atol=1e-6)


def test_the_last_step_of_a_cosine_is_not_passed(params, gradients):
    """A run that goes on beyond its length stands still instead of speeding up again."""
    learned = nominal_mlp()
    theta = learned.init(jax.random.key(0))
    found = trajectory(learned.optimizer(theta, NUM_STEPS // 2, None), params, gradients)
    late = found["weight"][NUM_STEPS // 2 :]
    np.testing.assert_allclose(late, jnp.broadcast_to(late[:1], late.shape), atol=1e-7)
    assert not np.allclose(found["weight"][0], late[0], atol=1e-4)


def test_unknown_schedule():
    with pytest.raises(ValueError, match="schedule must be one of cosine, learned, got linear"):
        nominal_mlp(schedule="linear")


@pytest.mark.parametrize("name", ["initial_step", "initial_decay"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_sizes_must_be_positive(name, value):
    with pytest.raises(ValueError, match=f"{name} must be positive, got {value}"):
        nominal_mlp(**{name: value})


def test_weights_without_a_gradient_do_not_spoil_backpropagation():
    """Through a root of zero; half of the pixels of the digits' border are always dark."""
    learned = nominal_mlp()
    theta = learned.init(jax.random.key(0))
    params = {"weight": jnp.ones((3, 2))}

    def end(theta):
        optimizer = learned.optimizer(theta, 4, None)
        state = optimizer.init(params)
        grads = {"weight": jnp.zeros((3, 2)).at[0].set(1.0)}
        updates, _ = optimizer.update(grads, state, params)
        return updates["weight"].sum()

    gradient = jax.jit(jax.grad(end))(theta)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))
    assert float(jnp.abs(gradient["log_step"])) > 0
