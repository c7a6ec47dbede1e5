import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.optimizers.rivals import RIVALS, LogUniform, draw, on_edge

TWINS = {
    "sgd": lambda schedule: optax.sgd(schedule, momentum=0.8),
    "adam": optax.adam,
    "adamw": lambda schedule: optax.adamw(schedule, weight_decay=0.3),
}
VALUES = {"learning_rate": 0.05, "one_minus_momentum": 0.2, "weight_decay": 0.3}


def trained(optimizer: optax.GradientTransformation, num_steps: int) -> np.ndarray:
    weight = jnp.array([1.0, -2.0, 3.0])
    state = optimizer.init(weight)
    for _ in range(num_steps):
        updates, state = optimizer.update(2.0 * weight, state, weight)
        weight = weight + updates
    return np.asarray(weight)


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("cosine", [0.0, 1.0])
def test_a_rival_is_its_optax_twin_under_its_schedule(name: str, cosine: float) -> None:
    rival = RIVALS[name]
    values = {knob: VALUES.get(knob, cosine) for knob in rival.knobs}
    schedule = optax.cosine_decay_schedule(0.05, 7) if cosine else optax.constant_schedule(0.05)
    found = trained(rival.recipe(values, 7).optimizer, 7)
    np.testing.assert_allclose(found, trained(TWINS[name](schedule), 7), rtol=1e-5)


@pytest.mark.parametrize("name", RIVALS)
def test_draws_lie_in_range_and_use_all_of_it(name: str) -> None:
    values = draw(RIVALS[name], 400, np.random.default_rng(0))
    for knob, spread in RIVALS[name].knobs.items():
        if isinstance(spread, LogUniform):
            place = np.log(values[knob] / spread.low) / np.log(spread.high / spread.low)
            assert 0.0 <= place.min() < 0.05
            assert 0.95 < place.max() <= 1.0
            # The mean of 400 uniform draws has a standard error of 1/√(12·400) = 0.0144.
            assert abs(place.mean() - 0.5) < 4 * 0.0144
        else:
            assert set(values[knob]) == {0.0, 1.0}


def test_edges_are_found_in_the_logarithm() -> None:
    rival = RIVALS["adam"]
    assert on_edge(rival, {"learning_rate": 1.1e-4, "cosine": 1.0}) == ["learning_rate"]
    assert on_edge(rival, {"learning_rate": 0.09, "cosine": 0.0}) == ["learning_rate"]
    assert on_edge(rival, {"learning_rate": 3e-3, "cosine": 1.0}) == []
