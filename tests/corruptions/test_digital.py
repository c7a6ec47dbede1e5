"""Coarse pixels and JPEG against Pillow."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from noiseproof.corruptions import CORRUPTIONS

KEY = jax.random.key(0)


def natural(height, width, channels, seed=0):
    """8-bit pictures with the falling spectrum of photographs, and one sharp edge."""
    noise = np.random.default_rng(seed).normal(size=(height, width, channels))
    smooth = sum(ndimage.gaussian_filter(noise, (s, s, 0)) * s for s in (0.6, 1.5, 4.0))
    smooth[height // 2 :, : width // 3] += 2 * smooth.std()
    low, high = smooth.min(), smooth.max()
    return ((smooth - low) / (high - low) * 255).astype(np.uint8)


def run(name, pixels, severity):
    image = jnp.asarray(pixels / 255, jnp.float32)
    result = jax.jit(lambda image: CORRUPTIONS[name](image, severity, KEY))(image)
    return np.asarray(result) * 255


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_pixelate_is_pillow_within_one_level(severity):
    size = int(32 * [0.95, 0.9, 0.85, 0.75, 0.65][severity - 1])
    pixels = natural(32, 32, 3, severity)
    small = Image.fromarray(pixels).resize((size, size), Image.Resampling.BOX)
    expected = np.asarray(small.resize((32, 32), Image.Resampling.BOX), float)
    difference = np.abs(run("pixelate", pixels, severity) - expected)
    assert difference.max() <= 1 + 1e-3
    assert (difference > 0.5).mean() < 1e-3


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (20, 37, 3)])
@pytest.mark.parametrize(("severity", "quality"), [(1, 80), (5, 40)])
def test_jpeg_is_pillow_within_two_levels_and_mostly_exact(shape, severity, quality):
    pixels = natural(*shape)
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "JPEG", quality=quality)
    expected = np.asarray(Image.open(file), float).reshape(shape)
    difference = np.abs(run("jpeg_compression", pixels, severity) - expected)
    assert difference.max() <= 2 + 1e-3
    assert (difference > 0.5).mean() < 1e-3


def test_pixelate_of_another_size_has_as_many_blocks_as_its_share():
    pixels = natural(20, 12, 1)
    coarse = run("pixelate", pixels, 5)[..., 0]
    assert len(np.unique(coarse, axis=0)) == int(20 * 0.65)
    assert len(np.unique(coarse, axis=1).T) == int(12 * 0.65)
