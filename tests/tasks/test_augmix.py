import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps

from noiseproof.tasks import augmix as tones
from noiseproof.tasks.augmix import augmix

KEY = jax.random.key(0)

# Compiling takes most of these tests' time, and half of it is spent on speed they do not need.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
TONES = {name: jit(tone) for name, tone in tones.TONES.items()}
move, posterize, solarize = jit(tones.move), jit(tones.posterize), jit(tones.solarize)


def images_of(num_images, *shape):
    """Of 256 levels."""
    levels = np.random.default_rng(0).integers(0, 256, (num_images, *shape))
    return jnp.asarray(levels / 255.0, jnp.float32)


@pytest.fixture(scope="module")
def mixed():
    """64 images, and what becomes of them."""
    images = images_of(64, 9, 14, 3)
    transform = jit(jax.vmap(augmix(strength=1.0)))
    return images, np.asarray(transform(images, jax.random.split(KEY, 64)))


def test_stays_in_range_and_shape(mixed):
    images, after = mixed
    assert after.shape == images.shape
    assert np.isfinite(after).all()
    # Mixtures of values in [0, 1], but for rounding.
    assert after.min() >= -1e-6
    assert after.max() <= 1 + 1e-6


def test_every_image_has_a_draw_of_its_own(mixed):
    """The share of the mixture is even on [0, 1]: some images hardly change, some entirely."""
    images, after = mixed
    distances = np.abs(after - images).mean(axis=(1, 2, 3))
    assert len(np.unique(distances)) == 64
    assert distances.min() < 0.1 * distances.max()


def test_a_key_fixes_the_draw():
    transform, image = jit(augmix()), images_of(1, 8, 8, 1)[0]
    one, again, other = (transform(image, jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_every_operation_is_drawn_as_often():
    """Catches a range of draws that leaves one out, and motions that go one way only."""
    which, strengths, signs = tones.draw_operations((9000,), 0.3, KEY)
    counts = np.bincount(np.asarray(which), minlength=9)
    # Four standard errors of a count with chance 1/9.
    np.testing.assert_allclose(counts, 1000, atol=4 * np.sqrt(9000 / 9 * 8 / 9))
    assert 0.01 <= float(strengths.min()) < 0.02
    assert 0.29 < float(strengths.max()) <= 0.3
    assert set(np.asarray(signs).tolist()) == {-1.0, 1.0}


def pillow(operation, image):
    levels = Image.fromarray(np.asarray(jnp.round(255 * image)).astype(np.uint8))
    return np.asarray(operation(levels)) / 255.0


@pytest.mark.parametrize(
    ("name", "strength", "operation", "tolerance"),
    [
        ("autocontrast", 0.5, ImageOps.autocontrast, 1.01 / 255),  # rounds to whole levels
        ("posterize", 0.2, lambda image: ImageOps.posterize(image, 4), 1e-6),
        ("posterize", 0.3, lambda image: ImageOps.posterize(image, 3), 1e-6),
        ("solarize", 0.25, lambda image: ImageOps.solarize(image, 192), 1e-6),
    ],
)
def test_tones_are_those_of_pillow(name, strength, operation, tolerance):
    image = 0.2 + 0.5 * images_of(1, 16, 12, 3)[0]
    image = jnp.round(255 * image) / 255
    found = TONES[name](image, jnp.float32(strength))
    np.testing.assert_allclose(found, pillow(operation, image), atol=tolerance)


def test_equalized_is_the_share_of_pixels_below():
    """Pillow's, where its whole steps come out even: 10,200 pixels below the highest are 40 each.

    Of level v = 0 to 99 there are 3 + 2 v pixels, of level 100 some more; it rounds half levels.
    """
    levels = np.repeat(np.arange(101), [*(3 + 2 * np.arange(100)), 200]) + 30
    levels = np.random.default_rng(0).permutation(levels).reshape(104, 100, 1)
    image = jnp.asarray(levels / 255.0, jnp.float32)
    expected = pillow(ImageOps.equalize, jnp.repeat(image, 3, axis=-1))[..., :1]
    found = TONES["equalize"](image, jnp.float32(0.5))
    np.testing.assert_allclose(found, expected, atol=0.501 / 255)


def test_equalized_ranks_are_even():
    """Where every pixel has a level of its own, those of a small image spread over the range."""
    ramp = jnp.asarray(np.random.default_rng(1).permutation(64).reshape(8, 8, 1) / 255.0)
    np.testing.assert_allclose(
        TONES["equalize"](ramp, jnp.float32(0.5)), ramp * 255 / 63, rtol=1e-5
    )


@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_flat_channels_stay(name):
    """Catches a division by a range of zero; each channel is alone."""
    image = jnp.concatenate([jnp.full((8, 8, 1), 0.4), images_of(1, 8, 8, 1)[0]], axis=-1)
    found = TONES[name](image, jnp.float32(0.5))
    np.testing.assert_array_equal(found[..., 0], image[..., 0])
    assert float(found[..., 1].max()) == pytest.approx(1.0, abs=1e-6)


def test_whole_shifts_move_pixels():
    """A third of a side at strength 1, toward either end, black behind."""
    image = images_of(1, 9, 12, 1)[0]
    right, back = (move(image, jnp.int32(3), jnp.float32(sign)) for sign in (-1.0, 1.0))
    np.testing.assert_allclose(right[:, 4:], image[:, :-4], atol=1e-6)
    assert float(right[:, :4].max()) == 0.0
    np.testing.assert_allclose(back[:, :-4], image[:, 4:], atol=1e-6)
    down = move(image, jnp.int32(4), jnp.float32(-0.7))
    np.testing.assert_allclose(down[2:], image[:-2], atol=1e-6)


@pytest.mark.parametrize("motion", [0, 1, 2])
def test_turns_and_shears_can_be_undone(motion):
    """A smooth image comes back but for what bilinear sampling loses, away from the border."""
    rows, columns = np.mgrid[:31, :31] - 15
    image = jnp.asarray(0.5 + 0.4 * np.sin(rows / 4) * np.cos(columns / 5), jnp.float32)[..., None]
    there = move(image, jnp.int32(motion), jnp.float32(0.9))
    inner = np.s_[10:-10, 10:-10]
    assert float(jnp.abs(there - image)[inner].max()) > 0.05
    back = move(there, jnp.int32(motion), jnp.float32(-0.9))
    # Bilinear sampling errs by at most an eighth of the second derivatives, 0.4 (1/16 + 1/25).
    assert float(jnp.abs(back - image)[inner].max()) < 2 * 0.4 * (1 / 16 + 1 / 25) / 8


def test_stronger_is_coarser_and_inverts_more():
    image = images_of(1, 8, 8, 1)[0]
    levels = [len(np.unique(posterize(image, jnp.float32(s)))) for s in (0.1, 0.3, 0.8)]
    assert levels == sorted(levels, reverse=True)
    assert len(set(levels)) == 3
    changed = [float((solarize(image, jnp.float32(s)) != image).mean()) for s in (0.1, 0.3, 0.8)]
    assert changed == sorted(changed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 0.0}, r"strength must lie in \[0.01, 1\], got 0.0"),
        ({"strength": 1.5}, r"strength must lie in \[0.01, 1\], got 1.5"),
        ({"num_chains": 0}, "num_chains must be positive, got 0"),
        ({"max_length": 0}, "max_length must be positive, got 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        augmix(**options)
