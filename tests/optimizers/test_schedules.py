"""How a learned rule's step shrinks over a run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.optimizers.schedules import NUM_KNOTS, SCHEDULES, SMALLEST, cosine


def test_cosine_at_known_points():
    np.testing.assert_allclose(
        cosine(jnp.array([0.0, 1 / 3, 0.5, 1.0])), [1, 0.75, 0.5, 0], atol=1e-6
    )


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_starts_as_a_falling_cosine(name):
    init, at = SCHEDULES[name]
    theta = init()
    knots = jnp.linspace(0.0, 1.0, NUM_KNOTS)
    values = jax.vmap(lambda fraction: at(theta, fraction))(knots)
    np.testing.assert_allclose(values[:-1], cosine(knots)[:-1], rtol=1e-5)
    assert 0.0 <= float(values[-1]) <= SMALLEST + 1e-6
    assert bool((jnp.diff(values) < 0).all())


def test_learned_knots_move_their_place_alone():
    """One unit is e^10, and halfway between two knots their geometric mean counts."""
    init, at = SCHEDULES["learned"]
    start = init()
    theta = {"schedule_knots": start["schedule_knots"].at[2].set(0.1)}
    width = 1 / (NUM_KNOTS - 1)

    def ratio(fraction):
        at_fraction = jnp.array(fraction)
        return float(at(theta, at_fraction) / at(start, at_fraction))

    assert ratio(2 * width) == pytest.approx(np.e, rel=1e-4)
    assert ratio(1.5 * width) == pytest.approx(np.e**0.5, rel=1e-4)
    assert ratio(1 * width) == pytest.approx(1.0, rel=1e-5)
    assert ratio(3 * width) == pytest.approx(1.0, rel=1e-5)
