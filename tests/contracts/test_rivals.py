"""What every hand-designed rival keeps, over the dict of rivals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof import inner_loop
from noiseproof.layouts.layout import layout_of
from noiseproof.models import mlp
from noiseproof.rivals import RIVALS
from noiseproof.rivals.knobs import LogUniform, Switch, check_knobs
from noiseproof.rivals.ranges import usual_num_trials
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.mixtures import Component, clean
from noiseproof.tasks.outer_losses import mixture
from noiseproof.types import Batch, Recipe

NUM_STEPS = 120
SHAPE = (4, 4, 1)
MODEL = mlp(image_shape=SHAPE, num_classes=2, hidden_sizes=(8,))
LAYOUT = layout_of(jax.eval_shape(MODEL.init, jax.random.key(0)), SHAPE)
TASK = image_classification(
    MODEL,
    batch_size=16,
    outer_batch_size=16,
    outer_loss=mixture(Component(1.0, clean)),
    pool_size=16,
)

# Compiling takes most of these tests' time, and half of it is spent on speed they do not need.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def halves() -> Batch:
    """Images brighter above or below, labeled by which."""
    labels = np.arange(64) % 2
    images = np.random.default_rng(0).integers(0, 128, (64, *SHAPE))
    images[labels == 0, :2] += 127
    images[labels == 1, 2:] += 127
    return Batch(jnp.array(images, jnp.uint8), jnp.array(labels, jnp.int32))


DATA = TaskData(halves(), halves())


@pytest.fixture(params=RIVALS)
def name(request):
    return request.param


def points(rival):
    """The middle of every range, with a constant and with a cosine schedule."""

    def middle(knob):
        if isinstance(knob, Switch):
            return jnp.array([0.0, 1.0])
        return jnp.full(2, (knob.low * knob.high) ** 0.5)

    return {name: middle(knob) for name, knob in rival.knobs.items()}


def test_ranges_are_in_order(name):
    rival = RIVALS[name]
    assert isinstance(rival.knobs["cosine"], Switch)
    assert isinstance(rival.knobs["learning_rate"], LogUniform)
    check_knobs(rival.knobs)
    for knob in rival.knobs.values():
        if isinstance(knob, LogUniform):
            # Less than a factor of a hundred would be a guess rather than a search.
            assert 89 * knob.low <= knob.high


def test_searches_try_enough_points(name):
    """128 trials, 256 where there are more than five knobs; half of it for convnets."""
    rival = RIVALS[name]
    expected = 256 if len(rival.knobs) > 5 else 128
    assert usual_num_trials(rival, has_filters=False) == expected
    assert usual_num_trials(rival, has_filters=True) == expected // 2


def test_trains_with_values_that_are_traced(name):
    """As an axis of one program; in the middle of its ranges every rival learns."""
    rival = RIVALS[name]

    @jit
    @jax.vmap
    def train(values):
        recipe = rival.recipe(values, NUM_STEPS, LAYOUT)
        assert isinstance(recipe, Recipe)
        return inner_loop.train(TASK, recipe, DATA, NUM_STEPS, jax.random.key(1))

    run = train(points(rival))
    assert not bool(run.diverged.any())
    assert bool((run.losses[:, -5:].mean(axis=1) < 0.8 * run.losses[:, 0]).all())
    # The schedules differ, and so do the weights that are judged.
    first = run.params[0]["weight"]
    assert not np.allclose(first[0], first[1], rtol=1e-3)


def test_takes_known_values_and_none(name):
    """Catches a division by Python's zero where a thing is turned off."""
    rival = RIVALS[name]
    known = {
        knob: 0.0 if getattr(spread, "chance_of_none", 0.0) else float(points(rival)[knob][1])
        for knob, spread in rival.knobs.items()
    }

    def train(key):
        recipe = rival.recipe(known, NUM_STEPS, LAYOUT)
        return inner_loop.train(TASK, recipe, DATA, NUM_STEPS, key)

    assert jax.eval_shape(train, jax.random.key(1)).losses.shape == (NUM_STEPS,)
