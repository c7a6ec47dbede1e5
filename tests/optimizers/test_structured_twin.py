"""`structured` against a plain twin: tensor by tensor, in numpy with double precision.

The twin is written from the formulas, without any of the package's code: singular values instead
of matrix products, a loop over neighbors instead of shifted slices. Theta is random, so that no
two kinds, parts of the run or bands have a rate in common, and a rate taken from the wrong place
is seen.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.layouts.layout import layout_of
from noiseproof.models import convnet, mlp
from noiseproof.optimizers import structured

IMAGE_SHAPE = (5, 4, 2)
NUM_STEPS = 4
NUM_UPDATES = 6
"""The run goes on a little after its end, where all rates stay as they are."""

KINDS = ["first", "hidden", "readout", "bias", "norm"]

# Compiling takes most of the time, and half of it is spent on speed that is not needed.
without_speed = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

CLASSIFIERS = {
    "perceptron": mlp(image_shape=IMAGE_SHAPE, num_classes=3, hidden_sizes=(4, 8), norm="group"),
    "convnet": convnet(image_shape=IMAGE_SHAPE, num_classes=3, channels=(2, 3), norm="layer"),
}

# Kind and the sides of a filter, by hand, in the order of the leaves: bias, gain, weight of each
# layer, without a gain in the last one.
LAYOUTS = {
    "perceptron": [
        *(("bias", ()), ("norm", ()), ("first", IMAGE_SHAPE)),
        *(("bias", ()), ("norm", ()), ("hidden", ())),
        *(("bias", ()), ("readout", ())),
    ],
    "convnet": [
        *(("bias", ()), ("norm", ()), ("first", (3, 3, 2))),
        *(("bias", ()), ("norm", ()), ("hidden", (3, 3, 2))),
        *(("bias", ()), ("readout", ())),
    ],
}


def random_theta():
    """Rates within a factor of about e of where they start, shares within about 0.1 to 0.9."""
    rng = np.random.default_rng(0)
    theta = jax.eval_shape(structured().init, jax.random.key(0))
    return {name: 0.1 * rng.normal(size=theta[name].shape) for name in sorted(theta)}


def twin_rates(theta, step):
    """The rates at a step: exponentials of what lies between knots, times where they start."""
    fraction = min(step / NUM_STEPS, 1.0)
    knots = np.linspace(0.0, 1.0, 4)
    between = {
        name: np.apply_along_axis(lambda row: np.interp(fraction, knots, row), -1, values)
        for name, values in theta.items()
    }
    shrinkage = max((1 + np.cos(np.pi * fraction)) / 2, 0.01)
    return {
        "step": 3e-3 * shrinkage * np.exp(10 * between["step"]),
        "decay": 0.1 * np.exp(10 * between["decay"]),
        "bands": 0.1 * np.exp(10 * between["bands"]),
        "mean": np.exp(10 * between["mean"]),
        "share": 1 / (1 + np.exp(-10 * between["orthogonal"])),
    }


def twin_orthogonalized(momentum):
    """Five steps of Muon's quintic on every singular value, then a root mean square of a half."""
    matrix = momentum.reshape(-1, momentum.shape[-1])
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.sqrt((values**2).sum())
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    scale = 0.5 * np.sqrt(max(matrix.shape))
    return (scale * (left * values) @ right).reshape(momentum.shape)


def neighbors_mean(filters):
    """Of every point and its eight neighbors; what lies beyond the edge is the edge."""
    height, width = filters.shape[:2]
    smooth = np.zeros_like(filters)
    for row in range(height):
        for column in range(width):
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    at = np.clip(row + down, 0, height - 1), np.clip(column + right, 0, width - 1)
                    smooth[row, column] += filters[at] / 9
    return smooth


def twin_pull(rates, layer, sides, weight):
    """What pulls a filter: what one smoothing takes away, what two more do, the rest, its mean."""
    filters = weight.reshape(*sides, -1)
    once = neighbors_mean(filters)
    thrice = neighbors_mean(neighbors_mean(once))
    mean = np.broadcast_to(filters.mean(axis=(0, 1, 2)), filters.shape)
    rough, middle, smooth = rates["bands"][layer]
    pull = rough * (filters - once) + middle * (once - thrice) + smooth * (thrice - mean)
    return (pull + rates["mean"][layer] * mean).reshape(weight.shape)


def twin_update(theta, state, param, grad, kind, sides, step):
    """One step of one tensor, whose averages are kept in `state`."""
    rates, row = twin_rates(theta, step), KINDS.index(kind)
    state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * grad
    state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * grad**2
    mean, square = state["m"] / (1 - 0.9 ** (step + 1)), state["v"] / (1 - 0.999 ** (step + 1))
    direction = mean / (np.sqrt(square) + 1e-8)
    if param.ndim > 1:
        share = rates["share"][row]
        direction = (1 - share) * direction + share * twin_orthogonalized(state["m"])
    direction = direction + rates["decay"][row] * param
    if sides:
        direction = direction + twin_pull(rates, 0 if kind == "first" else 1, sides, param)
    return -rates["step"][row] * direction


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_structured_is_its_twin(name):
    """Catches a rate, share or band of the wrong kind, layer or time, and a momentum left as is."""
    model, roles = CLASSIFIERS[name], LAYOUTS[name]
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    leaves, structure = jax.tree.flatten(shapes)
    rng = np.random.default_rng(1)
    # Every tensor away from zero, and gradients that change from step to step.
    start = [np.float32(0.3 + rng.normal(size=leaf.shape)) for leaf in leaves]
    gradients = [np.float32(rng.normal(size=(NUM_UPDATES, *leaf.shape))) for leaf in leaves]
    theta = random_theta()
    rule = structured().optimizer(
        jax.tree.map(jnp.float32, theta), NUM_STEPS, layout_of(shapes, IMAGE_SHAPE)
    )

    @without_speed
    def updates_of(params, gradients):
        def one_step(carry, grads):
            params, state = carry
            updates, state = rule.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), updates

        return jax.lax.scan(one_step, (params, rule.init(params)), gradients)[1]

    found = updates_of(structure.unflatten(start), structure.unflatten(gradients))
    for place, updates in enumerate(map(np.asarray, jax.tree.leaves(found))):
        param, state = np.float64(start[place]), {}
        for step in range(NUM_UPDATES):
            grad = np.float64(gradients[place][step])
            expected = twin_update(theta, state, param, grad, *roles[place], step)
            param = param + expected
            # Single precision, amplified by the slope of 3.4445 of each of five iterations.
            largest = np.abs(expected).max()
            np.testing.assert_allclose(
                updates[step] / largest, expected / largest, atol=1e-4, err_msg=f"{place}, {step}"
            )
