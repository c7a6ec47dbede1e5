"""A point of a contained rival, written as one of its container, trains alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof import inner_loop
from noiseproof.layouts.layout import layout_of
from noiseproof.models import mlp
from noiseproof.rivals import RIVALS
from noiseproof.rivals.knobs import Switch, Values
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.mixtures import Component, clean
from noiseproof.tasks.outer_losses import mixture
from noiseproof.types import Batch

NUM_STEPS = 4
SHAPE = (4, 4, 1)
MODEL = mlp(image_shape=SHAPE, num_classes=3, hidden_sizes=(5,), norm="layer")
LAYOUT = layout_of(jax.eval_shape(MODEL.init, jax.random.key(0)), SHAPE)
TASK = image_classification(
    MODEL,
    batch_size=8,
    outer_batch_size=8,
    outer_loss=mixture(Component(1.0, clean)),
    pool_size=8,
)
IMAGES = np.random.default_rng(0).integers(0, 256, (32, *SHAPE))
SPLIT = Batch(jnp.array(IMAGES, jnp.uint8), jnp.array(np.arange(32) % 3, jnp.int32))
DATA = TaskData(SPLIT, SPLIT)
PAIRS = [(name, other) for name, rival in RIVALS.items() for other in rival.contains]


@functools.cache
def trainer(name: str):
    """One program for each rival: its trained weights at a point, which is traced."""

    @jax.jit
    def train(values: Values):
        recipe = RIVALS[name].recipe(values, NUM_STEPS, LAYOUT)
        return inner_loop.train(TASK, recipe, DATA, NUM_STEPS, jax.random.key(1)).params

    return train


def point(name: str, sgd: float) -> dict[str, float]:
    """A point away from every knob's middle; a rate at which all of them move."""
    values = {
        knob: sgd if isinstance(spread, Switch) else (spread.low**2 * spread.high) ** (1 / 3)
        for knob, spread in RIVALS[name].knobs.items()
    }
    return {**values, "learning_rate": 0.02}


@pytest.mark.parametrize("sgd", [0.0, 1.0])
@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_a_contained_point_trains_alike(name: str, other: str, sgd: float) -> None:
    """Catches a translation that leaves a knob on, or a knob that changes something at 0."""
    values = point(other, sgd)
    there = RIVALS[name].contains[other](values)
    assert set(there) == set(RIVALS[name].knobs)
    theirs, ours = trainer(other)(values), trainer(name)(there)
    # Orthogonalization and four steps of a rate of .02 carry rounding (6e-8) a hundredfold.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), ours, theirs)


@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_what_is_contained_stands_before(name: str, other: str) -> None:
    """Catches an order in which a search would begin from one that is not done yet."""
    order = list(RIVALS)
    assert order.index(other) < order.index(name)


@pytest.mark.parametrize("name", [name for name in RIVALS if RIVALS[name].resembles])
def test_resembling_points_are_points(name: str) -> None:
    for other, translate in RIVALS[name].resembles.items():
        assert set(translate(point(other, 0.0))) == set(RIVALS[name].knobs)
