"""Flips and crops: what training photographs are usually put through.

Source: He, Zhang, Ren, Sun, arXiv 1512.03385, section 4.2: images of 32 pixels are padded by 4.
"""

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from noiseproof.types import Image

PADDED_SHARE = 1 / 8
"""Of a side, at either end; one pixel at least."""


def flips_and_crops(image: Image, key: PRNGKeyArray) -> Image:
    """The image, mirrored half of the time and moved by up to an eighth of its sides; black beyond.

    Args:
        image: Values in [0, 1].
        key: Of this image.
    """
    flip_key, crop_key = jax.random.split(key)
    flipped = jnp.where(jax.random.bernoulli(flip_key), image[:, ::-1], image)
    pads = [max(round(PADDED_SHARE * side), 1) for side in image.shape[:2]]
    padded = jnp.pad(flipped, (*((pad, pad) for pad in pads), (0, 0)))
    top, left = jax.random.randint(crop_key, (2,), 0, 2 * jnp.array(pads) + 1)
    return jax.lax.dynamic_slice(padded, (top, left, 0), image.shape)
