"""A shipped optimizer keeps the contract of optax: in JAX's transformations, and on disk."""

import json
import os
import subprocess
import sys
from pathlib import Path

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import noiseproof
from noiseproof.models import mlp
from noiseproof.zoo import load

IMAGE_SHAPE = (4, 4, 1)
MODEL = mlp(image_shape=IMAGE_SHAPE, num_classes=3, hidden_sizes=(4,))
SHAPES = jax.eval_shape(MODEL.init, jax.random.key(0))
NUM_STEPS = 3

pytestmark = pytest.mark.filterwarnings("ignore:.*was meta-trained with")


@pytest.fixture(scope="module")
def optimizer():
    layout = noiseproof.layout_of(SHAPES, IMAGE_SHAPE)
    return load("spectral-fashion-convnet", num_steps=1000, layout=layout)


def params():
    """New buffers, which may be donated."""
    return jax.tree.map(lambda leaf: waves(leaf.shape, jnp.sin), SHAPES)


def waves(shape, wave):
    return wave(1.0 + jnp.arange(np.prod(shape), dtype=jnp.float32)).reshape(shape)


GRADS = jax.tree.map(lambda leaf: waves(leaf.shape, jnp.cos), SHAPES)


def after_a_step(optimizer, params, state, grads=GRADS):
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state


@pytest.fixture(scope="module")
def trained(optimizer):
    """Params and state after a plain loop, whose step is traced once and takes its buffers."""
    traces = []

    def step(params, state):
        traces.append(1)
        return after_a_step(optimizer, params, state)

    jitted = jax.jit(step, donate_argnums=(0, 1))
    run = params(), optimizer.init(params())
    for _ in range(NUM_STEPS):
        before, run = run, jitted(*run)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
    assert len(traces) == 1
    return run


def assert_same(found, wanted):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7), found, wanted)


def test_loops_and_branches_take_the_same_steps(optimizer, trained):
    """Catches a state whose types change, a Python number in it, and a value that is read."""

    def step(run, is_on):
        return jax.lax.cond(is_on, lambda run: after_a_step(optimizer, *run), tuple, run), None

    @jax.jit
    def train(params):
        run = params, optimizer.init(params)
        return jax.lax.scan(step, run, jnp.array([True, False, True, True]))[0]

    assert_same(train(params()), trained)


def test_classifiers_side_by_side_and_gradients_of_any_unit(optimizer, trained):
    """Catches a norm or a mean over the axis of classifiers, squares beyond single precision, and
    an ε in the gradient's own unit."""

    @jax.jit
    @jax.vmap
    def train(size, unit):
        start = jax.tree.map(lambda leaf: size * leaf, params())
        grads = jax.tree.map(lambda leaf: unit * leaf, GRADS)
        run = start, optimizer.init(start)

        def step(_: int, run: tuple) -> tuple:
            return after_a_step(optimizer, *run, grads)

        return jax.lax.fori_loop(0, NUM_STEPS, step, run)[0]

    found = train(jnp.array([1.0, 3.0, 1.0, 1.0]), jnp.array([1.0, 1.0, 1e20, 1e-25]))
    for place in (0, 2, 3):
        assert_same(jax.tree.map(lambda leaf, at=place: leaf[at], found), trained[0])


@pytest.mark.parametrize("is_x64", [False, True])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_updates_are_of_the_params_type_and_state_is_of_float32(optimizer, dtype, is_x64):
    """Catches numbers of NumPy that make the state wider than it began; nothing is compiled."""
    if dtype == "float64" and not is_x64:
        return
    with jax.enable_x64(is_x64):
        tree = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), SHAPES)
        state = jax.eval_shape(optimizer.init, tree)
        updates, after = jax.eval_shape(optimizer.update, tree, state, tree)
        assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(dtype)}
        assert jax.tree.leaves(after) == jax.tree.leaves(state)
        kinds = {leaf.dtype for leaf in jax.tree.leaves(state)}
        assert kinds <= {jnp.dtype("float32"), jnp.dtype("int32")}
        assert jax.tree.structure(optimizer.init(tree)) == jax.tree.structure(state)


def next_step(optimizer, trained, state):
    return jax.jit(lambda *run: after_a_step(optimizer, *run))(trained[0], state)


def test_state_comes_back_from_orbax(optimizer, trained, tmp_path):
    """With a target as it was; without one as a dict, which is put back by its names."""
    with ocp.StandardCheckpointer() as writer:
        writer.save(tmp_path / "run", trained)
        writer.wait_until_finished()
        target = jax.eval_shape(lambda: (params(), optimizer.init(params())))
        as_it_was = writer.restore(tmp_path / "run", target)
        without = writer.restore(tmp_path / "run")
    assert jax.tree.structure(as_it_was) == jax.tree.structure(trained)
    assert_same(as_it_was, trained)
    by_names = flax.serialization.to_state_dict(without[1])
    state = flax.serialization.from_state_dict(optimizer.init(params()), by_names)
    assert jax.tree.structure(state) == jax.tree.structure(trained[1])
    assert_same(next_step(optimizer, trained, state), next_step(optimizer, trained, trained[1]))


def test_state_comes_back_from_flax(optimizer, trained):
    blank = optimizer.init(params())
    for state in (
        flax.serialization.from_bytes(blank, flax.serialization.to_bytes(trained[1])),
        flax.serialization.from_state_dict(blank, flax.serialization.to_state_dict(trained[1])),
    ):
        assert jax.tree.structure(state) == jax.tree.structure(trained[1])
        assert_same(state, trained[1])


def test_a_step_is_the_same_on_split_params(tmp_path):
    """Catches products that explicit sharding refuses, and a state that is split by a step."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    program = Path(__file__).with_name("sharded_step.py")
    subprocess.run(
        [sys.executable, program, tmp_path / "found.json"],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        check=True,
    )
    found = json.loads((tmp_path / "found.json").read_text())
    assert found.keys() == {"shard_map", "automatic", "explicit"}
    for name, said in found.items():
        # Sums in another order, good to 6e-8 each, in a chain of products of matrices.
        assert said["gap"] < 1e-4, name
        assert said.get("as_params", True), name
    assert found["explicit"]["same_types"]
