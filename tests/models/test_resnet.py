"""Residual nets against the same net of Flax layers, and batch norm without mutable state."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof import inner_loop
from noiseproof.layouts.layout import layout_of, roles
from noiseproof.models.resnet import architecture, resnet
from noiseproof.optimizers import structured, universal
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.mixtures import Component, clean
from noiseproof.tasks.outer_losses import mixture
from noiseproof.types import Batch, Recipe

SHAPE = (8, 8, 3)
IMAGES = np.float32(np.random.default_rng(1).random((6, *SHAPE)))


class FlaxResNet(nn.Module):
    """The blocks of `architecture` in Flax's own layers, named by their place."""

    train: bool
    norm: str
    width: int = 4

    @nn.compact
    def __call__(self, images):
        stem, blocks = architecture(3, 8, self.width)
        place = iter(range(100))

        def layer(one, features):
            height, width, _, fan_out = one.shape
            index = next(place)
            convolved = nn.Conv(
                fan_out, (height, width), one.stride, use_bias=False, name=f"conv_{index}"
            )(features)
            if self.norm == "batch":
                norm = nn.BatchNorm(not self.train, epsilon=1e-5, name=f"norm_{index}")
            else:
                norm = nn.GroupNorm(num_groups=4, epsilon=1e-5, name=f"norm_{index}")
            return norm(convolved)

        features = nn.relu(layer(stem, images))
        for block in blocks:
            inside = layer(block.second, nn.relu(layer(block.first, features)))
            around = features if block.around is None else layer(block.around, features)
            features = nn.relu(around + inside)
        return nn.Dense(10, name="readout")(features.mean(axis=(1, 2)))


def start_of(model):
    """Arrays of NumPy like those that the model starts with, weights drawn."""
    rng = np.random.default_rng(0)

    def drawn(leaf):
        fan_in = max(np.prod(leaf.shape[:-1]), 1)
        return np.float32(rng.normal(size=leaf.shape) / fan_in**0.5)

    shapes = jax.eval_shape(model.init, jax.random.key(0))
    values = jax.tree.map(drawn, shapes)
    return [
        {
            name: np.ones_like(value)
            if name in ("gain", "variance")
            else np.zeros_like(value)
            if name in ("bias", "mean")
            else value
            for name, value in layer.items()
        }
        for layer in values
    ]


def random_like(params):
    """Params in which no gain, bias or statistic is what it starts as."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: (
            np.abs(leaf + np.float32(0.3 * rng.normal(size=leaf.shape))) + np.float32(0.1)
            if leaf.ndim == 1
            else leaf
        ),
        params,
    )


def flax_variables(params, norm):
    *layers, readout = params
    weights = {"readout": {"kernel": readout["weight"], "bias": readout["bias"]}}
    statistics = {}
    for index, layer in enumerate(layers):
        weights[f"conv_{index}"] = {"kernel": layer["weight"]}
        weights[f"norm_{index}"] = {"scale": layer["gain"], "bias": layer["bias"]}
        if norm == "batch":
            statistics[f"norm_{index}"] = {"mean": layer["mean"], "var": layer["variance"]}
    return {"params": weights, "batch_stats": statistics}


@pytest.mark.parametrize("patches", [True, False])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_is_the_net_of_flax_layers(norm, patches):
    """Catches a wrong stride, padding, order of norm, bias and way around, epsilon or variance."""
    model = resnet(image_shape=SHAPE, num_classes=10, depth=8, width=4, norm=norm, patches=patches)
    params = random_like(start_of(model))
    variables = flax_variables(params, norm)
    alone = jax.jit(FlaxResNet(train=False, norm=norm).apply)(variables, IMAGES)
    apply = jax.jit(model.apply)
    np.testing.assert_allclose(apply(params, IMAGES), alone, rtol=1e-4, atol=1e-4)
    if norm == "batch":
        trained = FlaxResNet(train=True, norm=norm)
        in_training = jax.jit(functools.partial(trained.apply, mutable=["batch_stats"]))
        together, _ = in_training(variables, IMAGES)
        found = jax.jit(model.apply_train)(params, IMAGES)
        np.testing.assert_allclose(found, together, rtol=1e-4, atol=1e-4)
        calibrated = jax.jit(model.calibrate)(params, IMAGES)
        np.testing.assert_allclose(apply(calibrated, IMAGES), together, rtol=1e-3, atol=1e-3)


def test_bfloat16_rounds_and_no_more():
    nets = [
        resnet(image_shape=SHAPE, num_classes=10, width=4, patches=False, compute_type=compute)
        for compute in ("float32", "bfloat16")
    ]
    params = start_of(nets[0])
    wide, narrow = (jax.jit(net.apply_train)(params, IMAGES) for net in nets)
    assert narrow.dtype == jnp.float32
    error = float(jnp.abs(wide - narrow).max() / jnp.abs(wide).max())
    assert 1e-5 < error < 0.1


@pytest.mark.parametrize(("depth", "num_weights"), [(8, 10), (20, 22), (56, 58), (18, 21)], ids=str)
def test_depth_counts_layers(depth, num_weights):
    """Those of the ways around, two or three of them, are not counted in a net's name."""
    model = resnet(image_shape=SHAPE, num_classes=10, depth=depth, width=4)
    params = jax.eval_shape(model.init, jax.random.key(0))
    found = roles(layout_of(params, SHAPE))
    kinds = [role.kind for role in found]
    assert kinds.count("hidden") + kinds.count("pointwise") == num_weights - 2
    assert kinds.count("statistic") == 2 * (num_weights - 1)


@pytest.mark.parametrize("rule", [structured, universal])
def test_training_leaves_statistics_and_the_end_measures_them(rule):
    """Catches a decay of statistics, a run judged with none, and a training loss under them."""
    model = resnet(image_shape=SHAPE, num_classes=4, width=4)
    loss = mixture(Component(1.0, clean))
    task = image_classification(
        model, batch_size=8, outer_batch_size=8, outer_loss=loss, pool_size=8
    )
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (16, *SHAPE), dtype=np.uint8))
    batch = Batch(images, jnp.arange(16, dtype=jnp.int32) % 4)
    data = task.refresh(TaskData(batch, batch), jax.random.key(0))
    learned = rule()
    layout = layout_of(jax.eval_shape(model.init, jax.random.key(0)), SHAPE)
    recipe = Recipe(learned.optimizer(learned.init(jax.random.key(0)), 10, layout))

    @jax.jit
    def run(key):
        state = inner_loop.init(task, recipe, key)
        moved, losses = inner_loop.advance(task, recipe, state, data, 3, key)
        finished = task.finish(moved.params, data, key)
        return moved.params, finished, losses

    moved, finished, losses = run(jax.random.key(1))
    assert bool(jnp.isfinite(losses).all())
    for before, after in zip(moved[:-1], finished[:-1], strict=True):
        np.testing.assert_array_equal(before["mean"], 0.0)
        np.testing.assert_array_equal(before["variance"], 1.0)
        assert float(jnp.abs(after["mean"]).max()) > 1e-3
        np.testing.assert_array_equal(before["weight"], after["weight"])


@pytest.mark.parametrize("depth", [2, 9, 19])
def test_there_is_no_net_of_such_depth(depth):
    with pytest.raises(ValueError, match=f"depth must be 18, or 8 and any.*, got {depth}"):
        resnet(image_shape=SHAPE, num_classes=10, depth=depth)


def test_compute_types_are_two():
    with pytest.raises(ValueError, match="compute_type must be float32 or bfloat16, got 'int8'"):
        resnet(image_shape=SHAPE, num_classes=10, compute_type="int8")
