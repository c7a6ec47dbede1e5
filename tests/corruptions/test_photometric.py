"""Brightness and saturation against the HSV color space, contrast and fog against formulas."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.corruptions import CORRUPTIONS
from noiseproof.numerics.fields import plasma

KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def image():
    pixels = jax.random.uniform(jax.random.key(0), (8, 9, 3))
    # Black, grey, white and pure colors are where proportions and hues break down.
    special = jnp.array([[0.0, 0, 0], [0.4, 0.4, 0.4], [1, 1, 1], [1, 0, 0], [0, 0.5, 0.5]])
    return pixels.at[0, :5].set(special)


def through_hsv(image, change):
    pixels = [colorsys.rgb_to_hsv(*pixel) for pixel in np.asarray(image, float).reshape(-1, 3)]
    changed = [colorsys.hsv_to_rgb(*change(*pixel)) for pixel in pixels]
    return np.reshape(changed, image.shape)


@pytest.mark.parametrize(("severity", "shift"), [(1, 0.05), (5, 0.3)])
def test_brightness_raises_the_value_of_hsv(image, severity, shift):
    expected = through_hsv(image, lambda h, s, v: (h, s, min(v + shift, 1.0)))
    np.testing.assert_allclose(
        jax.jit(CORRUPTIONS["brightness"], static_argnums=1)(image, severity, KEY),
        expected,
        atol=1e-6,
    )


@pytest.mark.parametrize(("severity", "factor", "shift"), [(2, 0.1, 0.0), (5, 2.5, 0.2)])
def test_saturate_changes_the_saturation_of_hsv(image, severity, factor, shift):
    expected = through_hsv(image, lambda h, s, v: (h, min(factor * s + shift, 1.0), v))
    np.testing.assert_allclose(
        jax.jit(CORRUPTIONS["saturate"], static_argnums=1)(image, severity, KEY),
        expected,
        atol=1e-6,
    )


def test_contrast_keeps_the_means_of_channels(image):
    pale = jax.jit(CORRUPTIONS["contrast"], static_argnums=1)(image, 4, KEY)
    np.testing.assert_allclose(pale.mean((0, 1)), image.mean((0, 1)), atol=1e-6)
    np.testing.assert_allclose(pale.std((0, 1)), 0.3 * image.std((0, 1)), atol=1e-6)


def test_fog_is_one_cloud_over_all_channels_scaled_to_the_brightest_point(image):
    foggy = jax.jit(CORRUPTIONS["fog"], static_argnums=1)(image, 3, KEY)
    cloud = plasma(4, 2.5, 8, 9, KEY)[..., None]
    expected = (image + 0.75 * cloud) * image.max() / (image.max() + 0.75)
    np.testing.assert_allclose(foggy, expected, atol=1e-6)
    assert foggy.max() <= image.max()


def test_saturate_on_grey_images_is_refused():
    with pytest.raises(ValueError, match="this corruption needs 3 color channels, got 1"):
        CORRUPTIONS["saturate"](jnp.zeros((8, 8, 1)), 1, KEY)
