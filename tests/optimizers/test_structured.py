"""`structured` against Adam with decays, and its bands against what they are for."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.layouts.layout import layout_of
from noiseproof.models import mlp
from noiseproof.optimizers.schedules import SMALLEST, between, cosine
from noiseproof.optimizers.structured import filter_pull, structured
from noiseproof.rivals.decayed_adam import Decays, decayed_adam
from noiseproof.types import TensorRole

IMAGE_SHAPE = (6, 5, 2)
ROLE = TensorRole("first", IMAGE_SHAPE, 0.0)
NUM_STEPS = 10


def test_without_pulls_on_filters_it_is_adam_with_decays():
    """Catches a decay that is not relative to the step, and a wrong schedule or sign."""
    model = mlp(image_shape=IMAGE_SHAPE, num_classes=3, hidden_sizes=(4,))
    params = model.init(jax.random.key(0))
    layout = layout_of(params, IMAGE_SHAPE)
    rule = structured()
    theta = rule.init(jax.random.key(0))
    theta |= {name: jnp.full_like(theta[name], -10.0) for name in ("bands", "mean", "orthogonal")}

    def schedule(step):
        return 3e-3 * jnp.maximum(cosine(step / NUM_STEPS), SMALLEST)

    twin = decayed_adam(schedule, Decays(weights=0.1, biases=0.1), layout)
    ours = rule.optimizer(theta, NUM_STEPS, layout)

    def train(optimizer):
        def one_step(carry, key):
            params, state = carry
            grads = jax.tree.map(
                lambda leaf: leaf + jax.random.normal(jax.random.fold_in(key, leaf.size)), params
            )
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        keys = jax.random.split(jax.random.key(1), NUM_STEPS)
        return jax.lax.scan(one_step, (params, optimizer.init(params)), keys)[0][0]

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        train(ours),
        train(twin),
    )


def test_bands_and_mean_add_up_to_the_filters():
    weight = jax.random.normal(jax.random.key(0), (60, 3))
    pull = filter_pull(jnp.full(3, 0.5), jnp.array(0.5), ROLE, weight)
    np.testing.assert_allclose(pull, 0.5 * weight, atol=1e-6)


@pytest.mark.parametrize(
    ("rates", "mean_rate", "what"),
    [((1.0, 0.0, 0.0), 0.0, "checkerboard"), ((0.0, 0.0, 0.0), 1.0, "flat")],
)
def test_each_rate_pulls_its_own_part(rates, mean_rate, what):
    """A checkerboard is rough and has no mean; a flat filter is nothing but its mean."""
    rows, columns = jnp.indices((6, 6))
    pictures = {"checkerboard": (-1.0) ** (rows + columns), "flat": jnp.ones((6, 6))}
    role = TensorRole("first", (6, 6, 1), 0.0)
    for name, picture in pictures.items():
        weight = picture.reshape(36, 1)
        pull = filter_pull(jnp.array(rates), jnp.array(mean_rate), role, weight)
        share = float((pull * weight).sum() / (weight**2).sum())
        # Inside, the mean of nine points of a checkerboard is one ninth of the middle one.
        assert share == pytest.approx(1.0, abs=0.2) if name == what else abs(share) < 1e-6


def test_rates_are_linear_between_knots():
    knots = jnp.array([[0.0, 3.0, 1.0], [1.0, 1.0, 1.0]])
    for fraction in (0.0, 0.2, 0.5, 0.9, 1.0):
        expected = [np.interp(fraction, [0.0, 0.5, 1.0], row) for row in np.asarray(knots)]
        np.testing.assert_allclose(between(knots, jnp.float32(fraction)), expected, rtol=1e-6)


def test_two_knots_are_needed():
    with pytest.raises(ValueError, match="num_knots must be at least 2, got 1"):
        structured(num_knots=1)
