import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.metatrain import Objective, pes
from noiseproof.metatrain.footprint import (
    Footprint,
    check_fits,
    footprint,
    free_bytes,
    item_bytes,
    most_pairs,
    num_bytes,
    pair_bytes,
    stored_bytes,
    total_bytes,
)
from noiseproof.metatrain.outer_loop import Plan, build_steps
from noiseproof.models import mlp
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.optimizers.layout import layout_of
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.mixtures import Component, clean
from noiseproof.types import Batch

SHAPE = (6, 6, 1)
NEED = Footprint(
    num_pairs=4, carried=1000, params=100, activations=50, in_turn=False, theta=10, shared=5000
)


def test_the_formula() -> None:
    """By hand: 2·1000 + 2·(2·100 + 50) + 2·10 a pair, and 8 copies of theta beside the data."""
    assert pair_bytes(NEED) == 2520
    assert total_bytes(NEED) == 4 * 2520 + 5000 + 80
    assert total_bytes(NEED._replace(in_turn=True)) == 4 * 2020 + 250 + 5000 + 80


def test_what_fits_is_as_many_as_there_is_room_for() -> None:
    room = total_bytes(NEED)
    assert most_pairs(NEED, room) == 4
    assert most_pairs(NEED, room - 1) == 3
    assert most_pairs(NEED, 100) == 0
    check_fits(NEED, room, 1)


def test_more_pairs_than_memory_are_refused_with_what_fits() -> None:
    with pytest.raises(ValueError, match=r"pairs must be at most 6, got 8: .* 1.52e-05 GB a dev"):
        check_fits(NEED, total_bytes(NEED) - 1, 2)
    with pytest.raises(ValueError, match="fewer or of smaller runs: not one fits, got 4"):
        check_fits(NEED, 5000, 1)


def test_bytes_of_arrays_and_keys() -> None:
    tree = (jnp.zeros((3, 2), jnp.uint8), jax.random.split(jax.random.key(0), 5), jnp.zeros(()))
    assert num_bytes(tree) == 6 + 5 * 8 + 4
    assert item_bytes(jnp.dtype("bfloat16")) == 2


def test_products_are_stored_and_what_is_computed_by_element_is_not() -> None:
    """Among them products in inner programs: 3·5 floats of the first, 3·2 of the second."""

    @jax.jit
    def inner(matrix: jax.Array, weights: jax.Array) -> jax.Array:
        return jnp.tanh(matrix @ weights)

    def loss(matrix: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
        return (inner(jnp.exp(matrix), one) @ other).sum()

    shapes = [jnp.zeros(shape) for shape in ((3, 4), (4, 5), (5, 2))]
    program = jax.make_jaxpr(loss)(*shapes)
    assert sorted(stored_bytes(program.jaxpr)) == [4 * 3 * 2, 4 * 3 * 5]


def test_the_formula_is_near_what_the_compiler_needs() -> None:
    """Within a factor of 1.5: it is there to refuse what is far too large, before compiling."""
    model = mlp(image_shape=SHAPE, num_classes=3, hidden_sizes=(64,))
    task = image_classification(
        model, batch_size=8, outer_batch_size=8, components=[Component(1.0, clean)], pool_size=16
    )
    layout = layout_of(jax.eval_shape(model.init, jax.random.key(0)), SHAPE)
    objective = Objective(task, LEARNED_OPTIMIZERS["mlp"](), layout, num_steps=8, loss_interval=4)
    images = np.zeros((32, *SHAPE), np.uint8)
    split = Batch(jnp.asarray(images), jnp.zeros(32, jnp.int32))
    data, num_pairs = TaskData(split, split), 64
    estimator = pes(objective, truncation=4, num_pairs=num_pairs, std=0.01)
    steps = build_steps(objective, estimator, Plan(num_outer_steps=1, learning_rate=1.0))
    key = jax.random.key(0)
    state = jax.eval_shape(steps.start, data, key, key)
    memory = steps.advance.lower(state, data, key).compile().memory_analysis()
    needed = sum(
        getattr(memory, f"{part}_size_in_bytes") for part in ("argument", "output", "temp")
    )
    formula = total_bytes(footprint(objective, estimator, data, num_pairs))
    assert 1 / 1.5 < formula / needed < 1.5


def test_some_memory_is_free() -> None:
    """More than a process of this size has taken, and less than any machine has."""
    assert 2**20 < free_bytes() < 2**50
