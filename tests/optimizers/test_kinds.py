"""A step on every kind of tensor: finite, and of the size of a hidden weight's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.kinds import MATRICES, NEAREST_KIND
from noiseproof.optimizers import structured, universal
from noiseproof.rivals import RIVALS
from noiseproof.types import TensorRole
from noiseproof.zoo import load

NUM_STEPS = 100
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
WIDTH = 32
# Role, shape, and the root mean square that such a tensor has at its start.
CASES = {
    "first": (TensorRole("first", (3, 3, 3), 0.0), (3, 3, 3, WIDTH), 0.27),
    "hidden": (TensorRole("hidden", (), 0.5), (WIDTH, WIDTH), 0.25),
    "readout": (TensorRole("readout", (), 1.0), (WIDTH, 10), 0.18),
    "depthwise": (TensorRole("depthwise", (3, 3, 1), 0.5), (3, 3, 1, WIDTH), 0.47),
    "pointwise": (TensorRole("pointwise", (), 0.5), (1, 1, WIDTH, 2 * WIDTH), 0.25),
    "attention": (TensorRole("attention", (), 0.5), (WIDTH, WIDTH), 0.18),
    "qkv": (TensorRole("attention", (), 0.5, (1,), (2,)), (3, WIDTH, WIDTH), 0.18),
    "embedding": (TensorRole("embedding", (), 0.0), (100, WIDTH), 0.02),
    "position": (TensorRole("position", (), 0.0), (16, WIDTH), 0.02),
    "token": (TensorRole("token", (), 0.0), (1, 1, WIDTH), 0.02),
    "norm": (TensorRole("norm", (), 0.5), (WIDTH,), 1.0),
    "layer_scale": (TensorRole("norm", (), 0.5), (WIDTH,), 0.1),
    "scalar": (TensorRole("scalar", (), 1.0), (), 1.0),
    "unknown": (TensorRole("unknown", (), 0.5), (WIDTH, 7), 0.2),
    "own": (TensorRole("hyperbolic", (), 0.5), (5, WIDTH), 0.2),
    "bias": (TensorRole("bias", (), 0.5), (WIDTH,), 0.0),
    "branch_end": (TensorRole("hidden", (), 0.5), (4 * WIDTH, WIDTH), 0.0),
    "statistic": (TensorRole("statistic", (), 0.5), (WIDTH,), 1.0),
}
LAYOUT = {name: role for name, (role, _, _) in CASES.items()}


def learned(rule):
    built = rule()
    return built.optimizer(built.init(jax.random.key(0)), NUM_STEPS, LAYOUT)


OPTIMIZERS = {
    "structured": lambda: learned(structured),
    "universal": lambda: learned(universal),
    "shipped": lambda: load("spectral-fashion-convnet", num_steps=NUM_STEPS, layout=LAYOUT),
}


def test_every_kind_is_here():
    assert {role.kind for role in LAYOUT.values()} > set(NEAREST_KIND)


@pytest.mark.parametrize("build", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.filterwarnings("ignore:.*(taken for gains|was meta-trained with)")
def test_a_step_on_every_kind_is_of_the_size_of_a_hidden_weights(build):
    """Catches kinds without rates, fans of nothing, and stacks that are taken for one matrix: of
    matrices relative to their size, of what is added or multiplied as it is."""
    rng = np.random.default_rng(0)
    draws = {name: np.float32(rng.normal(size=shape)) for name, (_, shape, _) in CASES.items()}
    params = {name: jnp.asarray(size * draws[name]) for name, (_, _, size) in CASES.items()}
    gradients = {
        # About the same in every step, so that no direction cancels out.
        name: jnp.asarray(rng.normal(size=shape) + 0.1 * rng.normal(size=(3, *shape)), jnp.float32)
        for name, (_, shape, _) in CASES.items()
    }
    optimizer = build()

    @jit
    def last_step(params, gradients):
        def step(state, grads):
            return optimizer.update(grads, state, params)[::-1]

        _, updates = jax.lax.scan(step, optimizer.init(params), gradients)
        return jax.tree.map(lambda leaf: leaf[-1], updates)

    size = {
        name: float(jnp.sqrt((update**2).mean()))
        for name, update in last_step(params, gradients).items()
    }
    assert size.pop("statistic") == 0.0
    for name, found in size.items():
        role, _, usual = CASES[name]
        is_relative = usual and NEAREST_KIND.get(role.kind) in MATRICES
        ratio = found / size["hidden"] * (CASES["hidden"][2] / usual if is_relative else 1.0)
        assert 0.1 < ratio < 10.0, name


def test_a_kind_of_ones_own_is_taken_for_a_gain_with_a_notice():
    """Catches an error deep in a rule, a decay of what is not known, and a matrix of it."""
    layout = {"own": TensorRole("hyperbolic", (), 0.5), "gain": TensorRole("norm", (), 0.5)}
    params = {name: jnp.ones((3, 3)) for name in layout}
    values = dict.fromkeys(RIVALS["decayed_muon"].knobs, jnp.float32(0.01))
    rule = structured()
    both = (
        RIVALS["decayed_muon"].recipe(values, NUM_STEPS, layout).optimizer,
        rule.optimizer(rule.init(jax.random.key(0)), NUM_STEPS, layout),
    )

    @jit
    def updates(params):
        return [one.update(params, one.init(params), params)[0] for one in both]

    with pytest.warns(UserWarning, match="of the kind 'hyperbolic' are taken for gains; known"):
        found = updates(params)
    for changes in found:
        np.testing.assert_array_equal(changes["own"], changes["gain"])
