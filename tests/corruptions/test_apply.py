"""`corrupt`: its checks, its messages, its 256 levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.corruptions import CORRUPTIONS, corrupt, quantized
from noiseproof.corruptions.severity import graded

KEY = jax.random.key(0)
IMAGE = jnp.full((8, 8, 3), 0.5)


def test_unknown_names_offer_close_ones():
    with pytest.raises(ValueError, match=r"corruption 'fogg' is unknown; did you mean fog"):
        corrupt(IMAGE, "fogg", 1, key=KEY)
    with pytest.raises(ValueError, match=r"corruption 'xyzzy' is unknown; known: gaussian_noise"):
        corrupt(IMAGE, "xyzzy", 1, key=KEY)


@pytest.mark.parametrize("severity", [0, 6, 0.9, -1, float("nan")])
def test_severities_outside_1_to_5_are_refused(severity):
    with pytest.raises(ValueError, match=f"severity must lie between 1 and 5, got {severity}"):
        corrupt(IMAGE, "fog", severity, key=KEY)


def test_one_bad_severity_of_a_batch_is_refused():
    images = jnp.stack([IMAGE, IMAGE])
    with pytest.raises(ValueError, match="severity must lie between 1 and 5, got 7"):
        corrupt(images, "fog", np.array([1, 7]), key=KEY)
    with pytest.raises(ValueError, match=r"one for each of \(2,\) images, got shape \(3,\)"):
        corrupt(images, "fog", np.array([1, 2, 3]), key=KEY)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((8, 8, 3), np.uint8), r"floats in \[0, 1\], got uint8"),
        (np.full((8, 8, 3), 1.5), r"lie in \[0, 1\], got values from 1.5 to 1.5"),
        (np.full((8, 8, 3), np.nan), r"lie in \[0, 1\], got values from nan to nan"),
        (np.zeros((8, 8)), r"1 or 3 channels, got \(8, 8\)"),
        (np.zeros((8, 8, 2)), r"1 or 3 channels, got \(8, 8, 2\)"),
        (np.zeros((2, 2, 8, 8, 3)), r"1 or 3 channels, got \(2, 2, 8, 8, 3\)"),
        (np.zeros((7, 8, 3)), r"at least 8 pixels wide and high, got \(7, 8, 3\)"),
    ],
    ids=["integers", "too bright", "not a number", "flat", "channels", "rank", "small"],
)
def test_images_of_a_wrong_kind_are_refused(images, words):
    with pytest.raises(ValueError, match=words):
        corrupt(images, "fog", 1, key=KEY)


def test_known_images_inside_a_jit_are_checked_too():
    bright = jnp.full((8, 8, 3), 2.0)
    with pytest.raises(ValueError, match=r"lie in \[0, 1\], got values from 2.0 to 2.0"):
        jax.jit(lambda key: corrupt(bright, "fog", 1, key=key))(KEY)


def test_a_table_must_hold_five():
    with pytest.raises(ValueError, match="table std must hold 5 constants, got 2"):
        graded(CORRUPTIONS["gaussian_noise"].apply, std=(0.1, 0.2))


def test_quantizing_truncates_and_keeps_every_level_of_a_file():
    levels = jnp.arange(256) / 255
    np.testing.assert_array_equal(jnp.round(quantized(levels) * 255), np.arange(256))
    between = (jnp.arange(255) + 0.99) / 255
    np.testing.assert_array_equal(jnp.round(quantized(between) * 255), np.arange(255))
    noisy = np.asarray(corrupt(IMAGE, "gaussian_noise", 5, key=KEY, quantize=True)) * 255
    np.testing.assert_allclose(noisy, np.round(noisy), atol=1e-4)


@pytest.mark.parametrize("name", ["contrast", "motion_blur", "zoom_blur"])
def test_half_precision_images_stay_so_and_are_corrupted_in_single(name):
    image = jax.random.uniform(KEY, IMAGE.shape).astype(jnp.bfloat16)
    result = corrupt(image, name, 2, key=KEY)
    assert result.dtype == jnp.bfloat16
    single = corrupt(image.astype(jnp.float32), name, 2, key=KEY)
    np.testing.assert_array_equal(result, single.astype(jnp.bfloat16))


def test_severities_may_be_a_list():
    images = jnp.stack([IMAGE, IMAGE])
    listed = corrupt(images, "gaussian_noise", [1, 5], key=KEY)
    array = corrupt(images, "gaussian_noise", np.array([1, 5]), key=KEY)
    np.testing.assert_array_equal(listed, array)
