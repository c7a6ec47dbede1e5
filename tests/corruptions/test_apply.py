"""`corrupt`: what it takes, what it refuses and in which words, whose draws are whose."""

import inspect
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image as Picture

from noiseproof.corruptions import CORRUPTIONS, apply, corrupt, quantized
from noiseproof.corruptions.keys import as_key, image_key
from noiseproof.corruptions.severity import graded

KEY = jax.random.key(0)
IMAGE = jnp.full((8, 8, 3), 0.5)
LEVELS = np.random.default_rng(0).integers(0, 256, (4, 8, 9, 3), np.uint8)
# What users meet, who do not check types at run time.
UNCHECKED = inspect.unwrap(corrupt)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fogg", "corruption 'fogg' is unknown; did you mean fog"),
        ("jpeg", r"did you mean jpeg_compression, imagenet/jpeg_compression\?"),
        ("gauss", "did you mean gaussian_noise, gaussian_blur, imagenet/gaussian_noise"),
        ("bright", "did you mean brightness,"),
        ("Gaussian Noise", "did you mean gaussian_noise,"),
        ("xyzzy", "corruption 'xyzzy' is unknown; known: gaussian_noise, .*zigzag"),
        ("", "corruption '' is unknown; known: gaussian_noise"),
        (0, "corruption must be a name such as 'fog', got 0"),
        (None, "corruption must be a name such as 'fog', got None"),
    ],
)
def test_unknown_names_offer_close_ones(name, words):
    with pytest.raises(ValueError, match=words) as caught:
        UNCHECKED(IMAGE, name, 1, KEY)
    assert len(str(caught.value)) <= 500


@pytest.mark.parametrize("severity", [0, 6, 0.9, -1, float("nan")])
def test_severities_outside_1_to_5_are_refused(severity):
    with pytest.raises(ValueError, match=f"severity must lie between 1 and 5, got {severity}"):
        corrupt(IMAGE, "fog", severity, KEY)


@pytest.mark.parametrize(
    ("severity", "words"),
    [
        (np.array([1, 7]), "severity must lie between 1 and 5, got 7"),
        (np.array([1, 2, 3]), r"one for each of 2 images, got shape \(3,\)"),
        (np.array([[1], [2]]), r"one for each of 2 images, got shape \(2, 1\)"),
        ("3", "severity must be a number from 1 to 5, or one for each image, got '3'"),
        (None, "severity must be a number from 1 to 5, or one for each image, got None"),
        (True, "severity must be a number from 1 to 5, or one for each image, got True"),
        ([1, "2"], r"severity must be a number from 1 to 5, or one for each image, got \[1, '2'\]"),
    ],
    ids=str,
)
def test_severities_of_a_wrong_kind_are_refused(severity, words):
    with pytest.raises(ValueError, match=words):
        corrupt(jnp.stack([IMAGE, IMAGE]), "fog", severity, KEY)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((8, 8, 3), int), r"uint8, or floats in \[0, 1\], got int64"),
        (np.zeros((8, 8, 3), bool), r"uint8, or floats in \[0, 1\], got bool"),
        (np.full((8, 8, 3), 1.5), r"uint8 or lie in \[0, 1\], got values from 1.5 to 1.5"),
        (np.full((8, 8, 3), -0.1), r"uint8 or lie in \[0, 1\], got values from -0.1 to -0.1"),
        (np.full((8, 8, 3), np.nan), r"uint8 or lie in \[0, 1\], got values from nan to nan"),
        (np.zeros((8, 8, 8, 2)), r"with 1 or 3 channels, .*got \(8, 8, 8, 2\)"),
        (np.zeros((2, 3, 8, 8)), r"with 1 or 3 channels, .*got \(2, 3, 8, 8\)"),
        (np.zeros((2, 2, 8, 8, 3)), r"with 1 or 3 channels, .*got \(2, 2, 8, 8, 3\)"),
        (np.zeros(8), r"with 1 or 3 channels, .*got \(8,\)"),
        (np.zeros((3, 8, 9)), r"write \(3, 8, 9, 1\) or \(8, 9, 3\)"),
        (np.zeros((7, 8, 3)), "at least 8 pixels wide and high, got 7×8"),
        ([np.zeros((8, 8)), np.zeros((8, 9))], r"one shape and type, got float64 \(8, 8\), float6"),
        ([IMAGE, LEVELS[0, :, :8]], "one shape and type, got float32"),
        ([], "one shape and type, got none"),
        ([[0.5]], r"arrays, pictures or a list of them, got \[0.5\]"),
        ("cat.png", "arrays, pictures or a list of them, got 'cat.png'"),
        (None, "arrays, pictures or a list of them, got None"),
        (Picture.new("RGBA", (8, 8)), r"mode L or RGB, got RGBA: use .convert\('RGB'\)"),
        (Picture.new("P", (8, 8)), "mode L or RGB, got P"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_images_of_a_wrong_kind_are_refused(images, words):
    with pytest.raises(ValueError, match=words):
        corrupt(images, "fog", 1, KEY)


def test_color_corruptions_of_grey_images_are_refused():
    with pytest.raises(ValueError, match="'saturate' needs color images, and these are grey"):
        corrupt(IMAGE[..., 0], "saturate", 1, KEY)


def test_known_images_inside_a_jit_are_checked_too():
    bright = jnp.full((8, 8, 3), 2.0)
    with pytest.raises(ValueError, match=r"lie in \[0, 1\], got values from 2.0 to 2.0"):
        jax.jit(lambda key: corrupt(bright, "fog", 1, key))(KEY)


@pytest.mark.parametrize("key", [-1, 2**32, 0.5, True, None, "0", jax.random.split(KEY, 2)])
def test_keys_and_seeds_of_a_wrong_kind_are_refused(key):
    with pytest.raises(ValueError, match=r"one JAX key or a seed from 0 to 2\*\*32 - 1, got") as e:
        UNCHECKED(IMAGE, "contrast", 1, key)
    assert "\n" not in str(e.value)


def test_a_seed_is_its_key():
    for seed in (7, np.int64(7), 2**32 - 1):
        np.testing.assert_array_equal(
            corrupt(LEVELS, "impulse_noise", 5, seed),
            corrupt(LEVELS, "impulse_noise", 5, key=jax.random.key(int(seed))),
        )
    assert as_key(jax.random.PRNGKey(7)).shape == (2,)


def test_uint8_images_are_corrupted_in_their_256_levels():
    result = corrupt(LEVELS, "impulse_noise", 5, 0)
    assert result.dtype == jnp.uint8
    floats = corrupt(LEVELS / np.float32(255), "impulse_noise", 5, 0, quantize=True)
    np.testing.assert_array_equal(result, np.round(np.asarray(floats) * 255))
    assert (result == LEVELS).mean() > 0.9  # what no impulse hit is the level that it was


def test_images_come_as_people_have_them_and_go_in_their_shape():
    whole = np.asarray(corrupt(LEVELS, "contrast", 3, 0))
    for images in (list(LEVELS), tuple(map(Picture.fromarray, LEVELS)), jnp.asarray(LEVELS)):
        np.testing.assert_array_equal(corrupt(images, "contrast", 3, 0), whole)
    np.testing.assert_array_equal(corrupt(Picture.fromarray(LEVELS[1]), "contrast", 3, 0), whole[1])
    grey = np.asarray(corrupt(LEVELS[..., :1], "contrast", 3, 0))
    np.testing.assert_array_equal(corrupt(LEVELS[..., 0], "contrast", 3, 0), grey[..., 0])
    np.testing.assert_array_equal(corrupt(LEVELS[2, ..., 0], "contrast", 3, 0), grey[2, ..., 0])
    np.testing.assert_array_equal(
        corrupt(Picture.fromarray(LEVELS[2, ..., 0]), "contrast", 3, 0), grey[2, ..., 0]
    )


def test_floats_a_rounding_beyond_their_range_are_clipped():
    beyond = np.array(LEVELS / 255).clip(-1e-6, 1 - 1e-6) + 2e-6 * (LEVELS == 255)
    assert beyond.max() > 1
    inside = corrupt(beyond.clip(0, 1), "impulse_noise", 1, 0)
    np.testing.assert_array_equal(corrupt(beyond, "impulse_noise", 1, 0), inside)


def test_draws_depend_on_seed_name_severity_and_number_alone():
    grey = np.full((6, 8, 8, 1), 0.5, np.float32)
    whole = np.asarray(corrupt(grey, "gaussian_noise", 3, 5))
    draws = {image.tobytes() for image in whole}
    for name, severity, seed in (("gaussian_noise", 3, 6), ("gaussian_noise", 4, 5)):
        draws |= {image.tobytes() for image in np.asarray(corrupt(grey, name, severity, seed))}
    assert len(draws) == 18
    # A part of the data set, one image, and severities one by one change nothing.
    np.testing.assert_array_equal(corrupt(grey[2:5], "gaussian_noise", 3, 5, first=2), whole[2:5])
    np.testing.assert_array_equal(corrupt(grey[0], "gaussian_noise", 3, 5), whole[0])
    mixed = np.asarray(corrupt(grey, "gaussian_noise", [3, 3, 3, 4, 4, 4], 5))
    np.testing.assert_array_equal(mixed[:3], whole[:3])
    assert (mixed[3:] != whole[3:]).any(axis=(1, 2, 3)).all()


def test_the_key_of_an_image_is_three_numbers_folded_in():
    key = jax.random.fold_in(KEY, zlib.crc32(b"fog") // 2)
    for number in (4, 9):
        key = jax.random.fold_in(key, number)
    assert (image_key("fog", 4.5, 9, KEY) == key).all()


def test_traced_severities_are_the_known_ones_and_are_clamped():
    traced = jax.jit(lambda severity: corrupt(IMAGE, "impulse_noise", severity, KEY))
    known = corrupt(IMAGE, "impulse_noise", 5, KEY)
    np.testing.assert_array_equal(traced(5), known)
    flat = jax.jit(lambda severity: corrupt(IMAGE, "contrast", severity, KEY))
    np.testing.assert_array_equal(flat(9), flat(5))


def test_compiles_once_for_all_severities_and_numbers():
    corrupt(LEVELS, "contrast", 1, 0)
    program = apply._corrupt.__wrapped__
    size = program._cache_size()
    for severity, seed in ((1, 1), (3.5, 2), (np.float32(5), 3)):
        corrupt(LEVELS, "contrast", severity, seed, first=seed)
    assert program._cache_size() == size


def test_a_table_must_hold_five():
    with pytest.raises(ValueError, match="table std must hold 5 constants, got 2"):
        graded(CORRUPTIONS["gaussian_noise"].apply, std=(0.1, 0.2))


def test_quantizing_truncates_and_keeps_every_level_of_a_file():
    levels = jnp.arange(256) / 255
    np.testing.assert_array_equal(jnp.round(quantized(levels) * 255), np.arange(256))
    between = (jnp.arange(255) + 0.99) / 255
    np.testing.assert_array_equal(jnp.round(quantized(between) * 255), np.arange(255))


def test_half_precision_images_stay_so_and_are_corrupted_in_single():
    image = jax.random.uniform(KEY, IMAGE.shape).astype(jnp.bfloat16)
    result = corrupt(image, "contrast", 2, KEY)
    assert result.dtype == jnp.bfloat16
    single = corrupt(image.astype(jnp.float32), "contrast", 2, KEY)
    np.testing.assert_array_equal(result, single.astype(jnp.bfloat16))
