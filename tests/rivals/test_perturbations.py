import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof import inner_loop
from noiseproof.rivals.perturbations import (
    ADAPTIVE_OFFSET,
    adaptive_sharpness_aware,
    one_after_another,
    sharpness_aware,
    weight_noise,
)
from noiseproof.tasks.quadratic import QuadraticData, quadratic
from noiseproof.types import Recipe

KEY = jax.random.key(0)
PARAMS = {"weight": jnp.array([[3.0, -4.0], [0.0, 1.0]]), "bias": jnp.array([-2.0])}
GRADS = {"weight": jnp.array([[1.0, 2.0], [-2.0, 0.0]]), "bias": jnp.array([4.0])}

UPHILL = [sharpness_aware(0.5), adaptive_sharpness_aware(0.5)]


def move(perturb, params=PARAMS, grads=GRADS, key=KEY):
    return optax.tree.sub(perturb(params, lambda _params: grads, key), params)


def test_sam_goes_its_length_up_the_gradient():
    """The gradient's norm is √(1 + 4 + 4 + 16) = 5, so that a length of 0.5 is a tenth of it."""
    moved = move(sharpness_aware(0.5))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b / 10, atol=1e-6), moved, GRADS)
    assert float(optax.tree.norm(moved)) == pytest.approx(0.5, rel=1e-5)


def test_asam_goes_its_length_in_units_of_each_weight():
    """With sizes s = |w| + offset the move m has ‖m / s‖ = rho, along s² times the gradient."""
    moved = move(adaptive_sharpness_aware(0.5))
    sizes = jax.tree.map(lambda weight: jnp.abs(weight) + ADAPTIVE_OFFSET, PARAMS)
    assert float(optax.tree.norm(optax.tree.div(moved, sizes))) == pytest.approx(0.5, rel=1e-4)
    direction = jax.tree.map(lambda size, grad: size**2 * grad, sizes, GRADS)
    ratio = optax.tree.norm(moved) / optax.tree.norm(direction)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, ratio * b, atol=1e-5), moved, direction)


@pytest.mark.parametrize("perturb", UPHILL, ids=["sam", "asam"])
def test_without_a_slope_nothing_moves(perturb):
    """Catches a division by a norm of zero."""
    assert float(optax.tree.norm(move(perturb, grads=optax.tree.zeros_like(GRADS)))) == 0.0


def test_weight_noise_is_in_proportion():
    """Of 40,000 weights the draws have mean 0 ± 4 std/200 and std ± 4 std/√80,000."""
    weights = jnp.linspace(1.0, 9.0, 40_000)
    draws = move(weight_noise(0.3), weights, weights) / weights
    assert abs(float(draws.mean())) < 4 * 0.3 / 200
    assert float(draws.std()) == pytest.approx(0.3, abs=4 * 0.3 / 80_000**0.5)
    assert float(optax.tree.norm(move(weight_noise(0.3), jnp.zeros(3), jnp.zeros(3)))) == 0.0


def test_tensors_have_noise_of_their_own():
    params = {"one": jnp.ones(1000), "two": jnp.ones(1000)}
    moved = move(weight_noise(0.3), params, params)
    correlation = np.corrcoef(moved["one"], moved["two"])[0, 1]
    assert abs(correlation) < 4 / 1000**0.5


def step(perturb, weight, target):
    """The update of one step of gradient descent at rate 1 on ½ ‖w - target‖²."""
    task = quadratic(num_dimensions=len(weight))._replace(init=lambda _key: {"weight": weight})
    recipe = Recipe(optax.sgd(1.0), perturb=perturb)
    state = inner_loop.init(task, recipe, KEY)
    after, _ = inner_loop.step(task, recipe, state, QuadraticData(target, target), KEY)
    return after.params["weight"] - weight, state


@pytest.mark.parametrize("perturb", UPHILL, ids=["sam", "asam"])
def test_the_step_is_the_gradient_uphill(perturb):
    """Not the derivative of the way up: on a quadratic the gradient there is moved by the move."""
    weight, target = jnp.array([2.0, -1.0]), jnp.array([-1.0, 3.0])
    moved = perturb(weight, lambda weight: weight - target, KEY) - weight
    found, _ = step(perturb, weight, target)
    np.testing.assert_allclose(found, -(weight + moved - target), rtol=1e-5)


def test_the_step_under_noise_is_the_gradient_times_the_noise():
    """The slope of ½ (ξ w - target)² in w is ξ (ξ w - target)."""
    weight, target = jnp.array([2.0, -1.0, 0.5]), jnp.array([-1.0, 3.0, 1.0])
    noise_key = inner_loop.step_keys(jnp.int32(0), KEY)[1]
    noisy = weight_noise(0.5)({"weight": weight}, lambda params: params, noise_key)["weight"]
    found, _ = step(weight_noise(0.5), weight, target)
    np.testing.assert_allclose(found, -(noisy / weight) * (noisy - target), rtol=1e-5)


def test_one_after_another_looks_uphill_of_the_noisy_weights():
    seen = []

    def grads_fn(params):
        seen.append(params)
        return GRADS

    moved = one_after_another(weight_noise(0.5), sharpness_aware(0.5))(PARAMS, grads_fn, KEY)
    assert float(optax.tree.norm(optax.tree.sub(seen[0], PARAMS))) > 0.1
    uphill = optax.tree.sub(moved, seen[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b / 10, atol=1e-5), uphill, GRADS)
