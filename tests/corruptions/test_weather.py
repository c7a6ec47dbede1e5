"""Snow, frost and spatter: what is added, where, and of which brightness."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.corruptions import CORRUPTIONS, corrupt
from noiseproof.corruptions.kernels.weather import _power_law_field, frost

GREY = jnp.full((64, 32, 32, 3), 0.4, jnp.float32)
KEY = jax.random.key(0)


def test_snow_is_white_flakes_with_their_mirror_image_on_a_lightened_picture():
    snowy = np.asarray(corrupt(GREY, "snow", 2, KEY))[0]
    # Overcast sky alone: 0.9 · 0.4 + 0.1 · (1.5 · 0.4 + 0.5).
    base = 0.9 * 0.4 + 0.1 * 1.1
    flakes = snowy - base
    assert flakes.min() > -1e-5
    assert flakes.max() > 0.05
    np.testing.assert_allclose(flakes[..., 0], flakes[..., 2], atol=1e-5)
    np.testing.assert_allclose(flakes, flakes[::-1, ::-1], atol=1e-5)


def test_snow_falls_mostly_downward():
    snowy = np.asarray(corrupt(GREY, "snow", 1, KEY))[..., 0]
    along, across = (np.abs(np.diff(snowy, axis=axis)).mean() for axis in (1, 2))
    assert along < across


def test_frost_has_the_brightness_of_its_five_styles():
    count = 4000
    black = jnp.zeros((8, 8, 3))
    keys = jax.random.split(KEY, count)
    layers = np.asarray(jax.jit(jax.vmap(lambda key: frost(black, key, keep=0.0, add=1.0)))(keys))
    levels = layers.mean(axis=(1, 2)) * 255
    # Mean levels 130, 204, 204, 157, 115 times the factors of green (clipped at 255, which only
    # ever binds at the ends); image means spread by about 45 over styles.
    expected = np.mean([130 * 1.14, 204 * 0.99, 204 * 0.99, 157 * 1.01, 115 * 1.0])
    assert abs(levels[:, 1].mean() - expected) < 4 * levels[:, 1].std() / np.sqrt(count) + 1
    # The first style alone is strongly blue.
    blue = (levels[:, 2] / levels[:, 0] > 1.6).mean()
    assert abs(blue - 0.2) < 4 * np.sqrt(0.2 * 0.8 / count)


def test_frost_fields_have_unit_variance_and_a_falling_spectrum():
    keys = jax.random.split(KEY, 500)
    draw = jax.jit(jax.vmap(lambda key: _power_law_field(jnp.float32(-1.0), 32, 32, key)))
    fields = draw(keys)
    # Pixels of one field are correlated; field means of squares are not.
    squares = np.asarray((fields**2).mean((1, 2)))
    assert abs(squares.mean() - 1) < 4 * squares.std() / np.sqrt(500)
    power = np.abs(np.fft.fft2(fields))[:, 1:8, 0].mean(0)
    assert power[0] > 1.5 * power[-1]


@pytest.mark.parametrize(("severity", "brighter"), [(2, True), (5, False)])
def test_spatter_is_bright_water_then_dark_mud(severity, brighter):
    wet = np.asarray(corrupt(GREY, "spatter", severity, KEY))
    touched = np.abs(wet - 0.4) > 1e-4
    assert 0.01 < touched.mean() < 0.7
    assert ((wet - 0.4)[touched] > 0).all() == brighter
    if not brighter:
        np.testing.assert_allclose(wet.min((0, 1, 2)) * 255, [63, 42, 20], atol=1)


def test_a_lens_without_drops_leaves_the_image():
    spatter = CORRUPTIONS["spatter"]
    constants = {name: table[0] for name, table in spatter.tables} | {"threshold": 9.0}
    lay = jax.jit(lambda image: spatter.apply(image, KEY, **constants, max_sigma=1.0))
    dry = lay(GREY[0])
    np.testing.assert_array_equal(dry, GREY[0])
