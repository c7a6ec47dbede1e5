"""Each learned rule against a plain twin: tensor by tensor, in numpy with double precision.

The twins are written from the formulas, parameters-major and without any of the package's code.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.optimizers import adafac_mlp, mlp, nominal_mlp

NUM_STEPS = 6
SHAPES = {
    "filter": (3, 3, 2, 4),
    "wide": (5, 8),
    "dense": (8, 5),
    "thin": (1, 6),
    "bias": (7,),
    "scalar": (),
}


@pytest.fixture(params=["float64"])
def tolerance(request):
    """How far a rule may be from its twin, relative to a tensor's largest update.

    In double precision only the time and the fraction of the run are single ones, good to 6e-8.
    In single precision a decay of 0.999 is off by 3e-8, and its distance from 1 by 3e-5 of it.
    """
    double = request.param == "float64"
    jax.config.update("jax_enable_x64", double)
    yield 1e-6 if double else 1e-4
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def params(tolerance):
    rng = np.random.default_rng(0)
    return {name: jnp.array(rng.normal(size=shape)) for name, shape in SHAPES.items()}


@pytest.fixture
def gradients(tolerance):
    """Every tensor on its own scale, steps along the first axis."""
    rng = np.random.default_rng(1)
    scales = dict(zip(SHAPES, 10.0 ** np.arange(-3, 3), strict=True))
    return {
        name: jnp.array(scales[name] * rng.normal(size=(NUM_STEPS, *shape)))
        for name, shape in SHAPES.items()
    }


def random_theta(learned):
    """Theta with nothing left at zero."""
    rng = np.random.default_rng(2)
    theta = jax.jit(learned.init)(jax.random.key(0))
    return jax.tree.map(lambda leaf: leaf + 0.05 * rng.normal(size=leaf.shape), theta)


def with_large_magnitude(theta):
    """The log-magnitude's weights times 300, so that their factor of 0.001 does not hide them."""
    last = max(name for name in theta["network"] if name.startswith("weight"))[-1]
    scale = np.array([1.0, 300.0])
    network = dict(theta["network"])
    network[f"weight_{last}"] = network[f"weight_{last}"] * scale[:, None]
    network[f"bias_{last}"] = network[f"bias_{last}"] * scale
    return {**theta, "network": network}


# Compiling takes most of these tests' time, and half of it is spent on speed they do not need.
@functools.partial(
    jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0}
)
def rule_updates(learned, theta, params, gradients):
    """The updates of each step, the params following them."""
    optimizer = learned.optimizer(theta, NUM_STEPS, None)

    def one_step(carry, grads):
        params, state = carry
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), updates

    _, updates = jax.lax.scan(one_step, (params, optimizer.init(params)), gradients)
    return [jax.tree.map(lambda leaf, at=step: leaf[at], updates) for step in range(NUM_STEPS)]


def twin_updates(twin, params, gradients):
    """The same from a twin: `twin(state of a tensor, params, grads, step) -> update`."""
    params = {name: np.atleast_1d(np.float64(p)) for name, p in params.items()}
    states = {name: {"rank": len(shape)} for name, shape in SHAPES.items()}
    found = []
    for step in range(NUM_STEPS):
        updates = {
            name: twin(states[name], p, np.float64(gradients[name][step]).reshape(p.shape), step)
            for name, p in params.items()
        }
        params = {name: p + updates[name] for name, p in params.items()}
        found.append({name: updates[name].reshape(SHAPES[name]) for name in updates})
    return found


def assert_same_updates(found, expected, tolerance):
    for step, (fast, slow) in enumerate(zip(found, expected, strict=True)):
        for name in SHAPES:
            largest = np.abs(slow[name]).max()
            assert largest > 0
            np.testing.assert_allclose(
                fast[name] / largest,
                slow[name] / largest,
                atol=tolerance,
                err_msg=f"{name}, {step}",
            )


def rms_n(x):
    return x / np.sqrt(1e-5 + (x**2).mean())


def network(theta, features):
    """Parameters × features through the layers, as float64."""
    theta = {name: np.float64(value) for name, value in theta.items()}
    last = len(theta) // 2 - 1
    for index in range(last + 1):
        features = features @ theta[f"weight_{index}"].T + theta[f"bias_{index}"]
        features = features if index == last else np.maximum(features, 0.0)
    return features


def average(state, name, decay, value):
    """An average from zero without bias correction, kept in the state of a tensor."""
    state[name] = decay * state.get(name, 0.0) + (1.0 - decay) * value
    return state[name]


def timed_output(theta, channels, step):
    scales = np.array([1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5])
    time = np.tanh(step / scales - 1.0)
    features = np.stack([rms_n(channel).ravel() for channel in channels], axis=1)
    features = np.concatenate([features, np.tile(time, (len(features), 1))], axis=1)
    direction, magnitude = network(theta["network"], features).T
    return -(0.001 * direction * np.exp(0.001 * magnitude)).reshape(channels[0].shape)


def mlp_twin(theta):
    def twin(state, p, g, step):
        momenta = [average(state, b, b, g) for b in (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)]
        return timed_output(theta, [g, p, *momenta], step)

    return twin


def adafac_twin(theta):
    def decays(initial, name):
        return 1 - np.exp(10 * (np.log(1 - np.array(initial)) / 10 + np.float64(theta[name])))

    momentum = decays((0.9, 0.99, 0.999), "momentum_decays")
    (second,) = decays((0.999,), "second_moment_decays")
    factored = decays((0.9, 0.99, 0.999), "factored_decays")

    def twin(state, p, g, step):
        m = [average(state, ("m", i), b, g) for i, b in enumerate(momentum)]
        v = average(state, "v", second, g**2)
        channels = [g, p, *m, v, *(x / np.sqrt(v + 1e-6) for x in m), 1 / np.sqrt(v + 1e-6)]
        each = [factored_channels(state, i, b, g, m[i]) for i, b in enumerate(factored)]
        by_kind = zip(*each, strict=True)
        return timed_output(theta, channels + [x for kind in by_kind for x in kind], step)

    return twin


def factored_channels(state, index, decay, g, m):
    """fac_g, v_row, v_col, rsqrt of both and the scaled momentum, for one decay."""
    if g.ndim < 2:
        v = average(state, ("diagonal", index), decay, g**2 + 1e-30)
        inverse = 1 / np.sqrt(v + 1e-8)
        scaled = g / np.sqrt(np.maximum(v + 1e-9, 1e-9))
        return scaled, v, v, inverse, inverse, m / np.sqrt(v + 1e-6)
    second, largest = np.argsort(g.shape, kind="stable")[-2:]
    row = average(state, ("row", index), decay, (g**2 + 1e-30).mean(largest))
    column = average(state, ("column", index), decay, (g**2 + 1e-30).mean(second))
    row, column = np.expand_dims(row, largest), np.expand_dims(column, second)
    share = row / (row.mean(second, keepdims=True) + 1e-9)
    factor = 1 / np.sqrt(np.maximum(share, 1e-9)) / np.sqrt(np.maximum(column, 1e-9))
    row, column = np.broadcast_to(row, g.shape), np.broadcast_to(column, g.shape)
    rows = (row, column, 1 / np.sqrt(row + 1e-8), 1 / np.sqrt(column + 1e-8))
    return (g * factor, *rows, m * factor)


def nominal_twin(theta, initial_step, initial_decay, schedule):
    step_size = initial_step * np.exp(10 * float(theta["log_step"]))
    weight_decay = initial_decay * np.exp(10 * float(theta["log_decay"]))

    def twin(state, p, g, step):
        m = [average(state, b, b, g) for b in (0.5, 0.9, 0.99, 0.999)]
        v = average(state, "v", 0.999, g**2)
        inverse = 1 / np.sqrt(v + 1e-6)
        channels = [p, g, *m, *(x * inverse for x in m), inverse]
        features = np.stack([rms_n(channel).ravel() for channel in channels], axis=1)
        fraction = step / NUM_STEPS
        shared = np.tile([state["rank"], fraction], (len(features), 1))
        features = np.concatenate([features, shared], axis=1)
        direction, magnitude = network(theta["network"], features).T
        count = step + 1
        adam = m[1] / (1 - 0.9**count) / (np.sqrt(v / (1 - 0.999**count)) + 1e-8)
        change = adam + (direction * np.exp(magnitude)).reshape(p.shape) + weight_decay * p
        return -step_size * schedule(fraction) * change

    return twin


def cosine(fraction):
    return (1 + np.cos(np.pi * fraction)) / 2


def learned_schedule(theta):
    at = np.linspace(0, 1, 6)
    knots = np.log(np.maximum(cosine(at), 0.01)) + 10 * np.float64(theta["schedule_knots"])
    return lambda fraction: np.exp(np.interp(fraction, at, knots))


def test_mlp_is_its_twin(params, gradients, tolerance):
    learned = mlp()
    theta = with_large_magnitude(random_theta(learned))
    found = rule_updates(learned, theta, params, gradients)
    assert_same_updates(found, twin_updates(mlp_twin(theta), params, gradients), tolerance)


@pytest.mark.parametrize("tolerance", ["float64", "float32"], indirect=True)
def test_adafac_mlp_is_its_twin(params, gradients, tolerance):
    learned = adafac_mlp()
    theta = with_large_magnitude(random_theta(learned))
    found = rule_updates(learned, theta, params, gradients)
    assert_same_updates(found, twin_updates(adafac_twin(theta), params, gradients), tolerance)


@pytest.mark.parametrize("schedule", ["cosine", "learned"])
def test_nominal_mlp_is_its_twin(schedule, params, gradients, tolerance):
    learned = nominal_mlp(schedule=schedule, initial_step=0.01, initial_decay=0.1)
    theta = random_theta(learned)
    shape = cosine if schedule == "cosine" else learned_schedule(theta)
    twin = nominal_twin(theta, 0.01, 0.1, shape)
    found = rule_updates(learned, theta, params, gradients)
    assert_same_updates(found, twin_updates(twin, params, gradients), tolerance)
