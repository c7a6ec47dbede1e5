"""A mixed batch deals every image to one corruption, which is the one that it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.corruptions import CORRUPTIONS, corrupt_mixed

NAMES = ("contrast", "impulse_noise", "brightness")
KEY = jax.random.key(0)
IMAGES = jax.random.uniform(jax.random.key(1), (11, 8, 8, 3))


@pytest.mark.parametrize("severity", [4, np.array([1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1])])
def test_each_image_has_the_corruption_that_is_returned(severity):
    mixed, choices = jax.jit(lambda images: corrupt_mixed(images, NAMES, severity, KEY))(IMAGES)
    assert sorted(np.bincount(choices).tolist()) == [3, 4, 4]
    keys = jax.random.split(jax.random.split(KEY)[1], 11)
    levels = np.broadcast_to(severity, 11)
    for i in range(11):
        corruption = CORRUPTIONS[NAMES[int(choices[i])]]
        expected = corruption(IMAGES[i], int(levels[i]), keys[i])
        np.testing.assert_allclose(mixed[i], expected, atol=1e-5)


def test_who_gets_what_is_drawn_anew_for_each_key():
    deal = jax.jit(jax.vmap(lambda key: corrupt_mixed(IMAGES, NAMES, 1, key)[1]))
    choices = deal(jax.random.split(KEY, 600))
    # The first name gets 4 of 11 images: each image with a chance of 4/11, over 600 draws.
    share = (choices == 0).mean(axis=0)
    assert np.abs(share - 4 / 11).max() < 4.5 * np.sqrt(4 / 11 * 7 / 11 / 600)


def test_quantized_mixtures_have_256_levels():
    levels = corrupt_mixed(IMAGES, NAMES, 2, KEY, quantize=True)[0] * 255
    np.testing.assert_allclose(levels, jnp.round(levels), atol=1e-4)


def test_bad_names_are_refused():
    with pytest.raises(ValueError, match="corruption 'mist' is unknown"):
        corrupt_mixed(IMAGES, ("mist",), 1, KEY)
    with pytest.raises(ValueError, match="names must be 1 to 11, one group each, got 0"):
        corrupt_mixed(IMAGES, (), 1, KEY)
    with pytest.raises(ValueError, match="names must be 1 to 11, one group each, got 12"):
        corrupt_mixed(IMAGES, NAMES * 4, 1, KEY)
