"""What every classifier of the package keeps, over the dict of models."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.kinds import MATRICES, NEAREST_KIND
from noiseproof.layouts.layout import fit_layout, layout_of, roles
from noiseproof.models import MODELS
from noiseproof.models.norms import NORMS
from noiseproof.types import Model

SHAPES = [(8, 8, 1), (14, 14, 1), (16, 16, 3), (28, 28, 1), (32, 32, 3)]


SMALL = {"resnet": {"width": 8}, "vit": {"width": 8, "depth": 2, "num_heads": 2}}
NORMED = [name for name in sorted(MODELS) if "norm" in inspect.signature(MODELS[name]).parameters]
CASES = [
    *[(name, norm) for name in NORMED for norm in NORMS],
    *[(name, None) for name in sorted(set(MODELS) - set(NORMED))],
]
by_norm = pytest.mark.parametrize(("name", "norm"), CASES, ids=[f"{n}-{norm}" for n, norm in CASES])


@pytest.fixture(params=sorted(MODELS), scope="module")
def builder(request):
    return MODELS[request.param]


@functools.cache
def small_model(name, norm=None):
    options = {"norm": norm} if name in NORMED else {}
    return MODELS[name](image_shape=(8, 8, 1), num_classes=3, **options, **SMALL.get(name, {}))


@functools.cache
def small(name, norm=None):
    """A small model, its params and its compiled `apply`."""
    model = small_model(name, norm)
    return model, jax.jit(model.init)(jax.random.key(0)), jax.jit(model.apply)


def kinds_of(params):
    return [role.kind for role in roles(layout_of(params, (8, 8, 1)))]


def images_of(shape: tuple[int, int, int], num_images: int = 4) -> jax.Array:
    return jnp.asarray(np.random.default_rng(7).random((num_images, *shape)), jnp.float32)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gives_one_row_of_logits_per_image(builder, shape):
    model = builder(image_shape=shape, num_classes=5)
    assert isinstance(model, Model)
    images = images_of(shape)
    logits = jax.eval_shape(lambda key: model.apply(model.init(key), images), jax.random.key(0))
    assert logits.shape == (4, 5)
    assert logits.dtype == jnp.float32


@by_norm
def test_an_image_is_judged_alone(name, norm):
    """Catches a norm over the batch that is judged, and a reshape that mixes images."""
    _, params, apply = small(name, norm)
    images = images_of((8, 8, 1))
    alone = jnp.concatenate([apply(params, image[None]) for image in images])
    np.testing.assert_allclose(apply(params, images), alone, atol=1e-5)


@by_norm
def test_every_tensor_learns_but_statistics(name, norm):
    """Catches a tensor that the logits ignore, one that starts where no gradient flows, and
    statistics that training would move."""
    model = small_model(name, norm)
    images = images_of((8, 8, 1), num_images=16)

    @jax.jit
    def gradients(key):
        def loss(params):
            logits = (model.apply_train or model.apply)(params, images)
            return jax.nn.log_softmax(logits)[:, 0].sum()

        return jax.grad(loss)(model.init(key))

    found = gradients(jax.random.key(0))
    for kind, gradient in zip(kinds_of(found), jax.tree.leaves(found), strict=True):
        assert bool(jnp.isfinite(gradient).all())
        assert (float(jnp.abs(gradient).max()) > 0) == (kind != "statistic")


@pytest.mark.parametrize("name", NORMED)
def test_measured_statistics_make_training_and_judging_one(name):
    """Catches statistics in the wrong layer or of the wrong input, and weights that are measured
    away."""
    model, params, apply = small(name, "batch")
    images = images_of((8, 8, 1), num_images=8)
    measured = jax.jit(model.calibrate)(params, images)
    in_training = jax.jit(model.apply_train)(params, images)
    np.testing.assert_allclose(apply(measured, images), in_training, rtol=1e-3, atol=1e-3)
    before, after = jax.tree.leaves(params), jax.tree.leaves(measured)
    for kind, old, new in zip(kinds_of(params), before, after, strict=True):
        assert np.array_equal(old, new) == (kind != "statistic")


@pytest.mark.parametrize("name", sorted(MODELS))
def test_dropout_is_another_forward_pass(name):
    """That of training at a rate of 0, and at another rate a draw of the key for every image."""
    model, params, _ = small(name)
    images = jnp.tile(images_of((8, 8, 1), num_images=1), (4, 1, 1, 1))
    apply = jax.jit(model.apply_dropout)
    sure = apply(params, images, 0.0, jax.random.key(1))
    plain = model.apply_train or model.apply
    np.testing.assert_allclose(sure, jax.jit(plain)(params, images), atol=1e-5)
    one, again, other = (apply(params, images, 0.5, jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert len(np.unique(np.concatenate([one[:, 0], other[:, 0]]))) == 8


@pytest.mark.parametrize("name", sorted(MODELS))
def test_seeds_differ_and_repeat(name):
    model, first, _ = small(name)
    two_keys = jax.vmap(jax.random.key)(jnp.arange(2))
    again, other = jax.jit(jax.vmap(model.init))(two_keys)[0]["weight"]
    np.testing.assert_allclose(first[0]["weight"], again, rtol=1e-6)
    assert not np.allclose(again, other)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_particles_with_their_own_weights(name):
    """Catches a layer that only works without a particle axis."""
    model, params, apply = small(name)
    factors = np.float32([1.0, 1.1, 1.2])
    params = jax.tree.map(lambda leaf: np.multiply.outer(factors, leaf), params)
    images = images_of((8, 8, 1))
    together = jax.jit(jax.vmap(model.apply, in_axes=(0, None)))(params, images)
    for particle in range(3):
        alone = apply(jax.tree.map(lambda leaf, at=particle: leaf[at], params), images)
        np.testing.assert_allclose(together[particle], alone, atol=1e-5)


@by_norm
def test_layout_reads_input_to_readout(name, norm):
    """Catches names that say another thing than the forward pass."""
    model = small_model(name, norm)
    params = jax.eval_shape(model.init, jax.random.key(0))
    layout = layout_of(params, (8, 8, 1))
    found = fit_layout(layout, params)
    weights = [role for role in found if NEAREST_KIND[role.kind] in MATRICES]
    kinds = [NEAREST_KIND[role.kind] for role in weights]
    assert kinds == ["first", *["hidden"] * (len(weights) - 2), "readout"]
    depths = [role.depth_fraction for role in weights]
    assert depths == sorted(depths)
    assert (depths[0], depths[-1]) == (0.0, 1.0)
    traced = layout_of(params, (8, 8, 1), apply=model.apply)
    for one, other in zip(found, roles(traced), strict=True):
        assert NEAREST_KIND[one.kind] == NEAREST_KIND[other.kind]
        if name != "vit":  # whose norms come before the layers that they are named with
            assert one == other


def test_rejects_a_bad_image_shape(builder):
    with pytest.raises(ValueError, match=r"image_shape must be \(height, width, channels\).*0, 1"):
        builder(image_shape=(8, 0, 1), num_classes=3)


def test_rejects_bad_options(builder):
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        builder(image_shape=(8, 8, 1), num_classes=1)


@pytest.mark.parametrize("name", NORMED)
def test_rejects_another_norm(name):
    with pytest.raises(ValueError, match="norm must be None or one of layer, group, batch, got 'o"):
        MODELS[name](image_shape=(8, 8, 1), num_classes=3, norm="other")


def test_rejects_images_of_another_shape(builder):
    model = builder(image_shape=(8, 8, 1), num_classes=3)
    with pytest.raises(ValueError, match=r"images must have the shape \(batch, \*\(8, 8, 1\)\)"):
        jax.eval_shape(
            lambda key: model.apply(model.init(key), images_of((4, 16, 1))), jax.random.key(0)
        )
