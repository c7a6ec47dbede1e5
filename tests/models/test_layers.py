from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.models.layers import (
    check_images,
    convolve_patches,
    dropout,
    init_layers,
    same_padding,
)
from noiseproof.models.norms import standardize

# Height, width, stride and filter: odd, even, smaller than the filter, not divided by the stride.
CASES = [(8, 8, 1, (3, 3)), (7, 5, 2, (3, 3)), (2, 1, 2, (5, 3)), (9, 10, 3, (1, 2))]


def filters_and_images(height: int, width: int, filter_shape=(3, 3)):
    generator = np.random.default_rng(3)
    images = generator.normal(size=(5, height, width, 4)).astype(np.float32)
    filters = generator.normal(size=(*filter_shape, 4, 6)).astype(np.float32)
    return jnp.asarray(images), jnp.asarray(filters)


def convolve_native(images, filters, *, stride):
    """The slow twin: XLA's own operation."""
    padding = same_padding(images.shape, filters.shape, stride)
    dimensions = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        images, filters, (stride, stride), padding, dimension_numbers=dimensions
    )


@pytest.mark.parametrize(("height", "width", "stride", "filter_shape"), CASES)
def test_patches_agree_with_native_convolution(height, width, stride, filter_shape):
    """The fast form against the slow twin, values and both gradients."""
    images, filters = filters_and_images(height, width, filter_shape)

    @partial(jax.jit, static_argnums=0)
    def value_and_gradients(convolve, images, filters):
        value, pullback = jax.vjp(partial(convolve, stride=stride), images, filters)
        return value, *pullback(jnp.sin(jnp.arange(value.size, dtype=float)).reshape(value.shape))

    fast = value_and_gradients(convolve_patches, images, filters)
    slow = value_and_gradients(convolve_native, images, filters)
    for ours, theirs in zip(fast, slow, strict=True):
        # Sums of at most 5 · 64 products of order one, in float32.
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_stacked_classifiers_never_see_the_slow_convolution(platform):
    """Catches the loss of the fast path: a tenth of the speed in a CPU's loop, less on a GPU."""
    images, filters = filters_and_images(8, 8)
    convolve = jax.vmap(partial(convolve_patches, stride=1))
    lowered = jax.jit(convolve).trace(images[None], filters[None])
    assert "stablehlo.convolution" not in lowered.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("num_groups", [1, 2, 4])
def test_standardize_has_zero_mean_and_unit_variance_per_group(num_groups):
    features = np.random.default_rng(0).normal(3, 2, (2, 5, 5, 8)).astype(np.float32)
    found = np.asarray(standardize(jnp.asarray(features), num_groups)).reshape(
        2, 25, num_groups, -1
    )
    np.testing.assert_allclose(found.mean(axis=(1, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(found.var(axis=(1, 3)), 1, atol=1e-4)


def test_a_constant_image_standardizes_to_zero():
    np.testing.assert_array_equal(standardize(jnp.full((1, 3, 3, 4), 0.5), 1), 0)


def test_initial_weights_have_the_std_of_he():
    """Catches a fan that counts the outputs, or a filter's inputs without its area."""
    shapes = [(3, 3, 20, 100), (400, 100)]
    for layer, shape in zip(init_layers(shapes, None, jax.random.key(1)), shapes, strict=True):
        assert layer["weight"].shape == shape
        fan_in = int(np.prod(shape[:-1]))
        num_weights = fan_in * shape[-1]
        std = np.sqrt(2 / fan_in)
        # Four standard errors: std / √(2n) of a standard deviation, std / √n of a mean.
        assert abs(float(layer["weight"].std()) - std) < 4 * std / np.sqrt(2 * num_weights)
        assert abs(float(layer["weight"].mean())) < 4 * std / np.sqrt(num_weights)
        np.testing.assert_array_equal(layer["bias"], np.zeros(100))


def test_layers_do_not_share_their_draws():
    first, second = init_layers([(4, 4), (4, 4)], None, jax.random.key(0))
    assert not np.isin(first["weight"], second["weight"]).any()


def test_a_norm_adds_a_gain_of_one_to_all_but_the_readout():
    hidden, readout = init_layers([(4, 8), (8, 2)], "layer", jax.random.key(1))
    np.testing.assert_array_equal(hidden["gain"], np.ones(8))
    assert set(readout) == {"weight", "bias"}


@pytest.mark.parametrize("rate", [0.25, 0.75])
def test_dropout_leaves_out_its_share_and_keeps_the_mean(rate):
    """Of 40,000 ones each is 1 / (1 - rate) by a chance of 1 - rate: the mean is 1, with a
    standard error of √(rate / (1 - rate) / 40,000).
    """
    dropped = dropout(rate, jax.random.key(0))(jnp.ones((400, 100)), 0)
    np.testing.assert_allclose(np.unique(dropped), [0.0, 1 / (1 - rate)], rtol=1e-6)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=4 * (rate / (1 - rate) / 40_000) ** 0.5)


def test_every_layer_drops_by_itself():
    """Two masks at a rate of 1/2 agree in half of 40,000 places, ± four std of √40,000 / 2."""
    drop = dropout(0.5, jax.random.key(0))
    first, second = (drop(jnp.ones((400, 100)), layer) for layer in (0, 1))
    assert abs(int((first == second).sum()) - 20_000) < 4 * 100


def test_an_empty_batch_is_refused():
    """Catches a division by zero deep in a forward pass."""
    with pytest.raises(ValueError, match="images must hold one image at least, got an empty batch"):
        check_images(jnp.zeros((0, 4, 4, 1)), (4, 4, 1))
