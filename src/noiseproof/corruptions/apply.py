"""One call for one image or many: names, checks, keys, and the 256 levels of a file."""

import difflib
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from noiseproof.corruptions.numerics.levels import quantized
from noiseproof.corruptions.severity import NamedCorruption, static_severity
from noiseproof.corruptions.suites import CORRUPTIONS
from noiseproof.types import Image

MIN_SIDE = 8


def corrupt(
    images: Shaped[Array | np.ndarray, "..."],
    name: str,
    severity: Any,
    *,
    key: PRNGKeyArray,
    quantize: bool = False,
) -> Float[Array, "..."]:
    """Corrupts one image, or a batch in which every image draws its own randomness.

    Args:
        images: An image `[height width channels]` or a batch of them, float in [0, 1], 1 or 3
            channels, sides of at least 8.
        name: A key of `CORRUPTIONS`.
        severity: 1 to 5, also in between, also traced; or one for each image of a batch.
        key: Image i of a batch is corrupted under `jax.random.split(key, batch)[i]`.
        quantize: Truncate to the 256 levels of an 8-bit file, as the released arrays are.

    Raises:
        ValueError: The name is unknown (close ones are offered), a severity is outside 1 to 5, or
            the images have a wrong type, shape or range. Traced values cannot be checked.
    """
    find_corruption(name)
    check_images(images)
    if isinstance(severity, Tracer) or np.ndim(severity) > 0:
        check_severities(severity, images)
        return _corrupt_traced(jnp.asarray(images), jnp.asarray(severity), name, quantize, key)
    return _corrupt_static(jnp.asarray(images), static_severity(severity), name, quantize, key)


def find_corruption(name: str) -> NamedCorruption:
    """The corruption of that name.

    Raises:
        ValueError: There is none; close names are offered.
    """
    if name in CORRUPTIONS:
        return CORRUPTIONS[name]
    close = difflib.get_close_matches(name, CORRUPTIONS, n=3)
    hint = f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(CORRUPTIONS)}."
    raise ValueError(f"corruption {name!r} is unknown; {hint}")


def check_images(images: Shaped[Array | np.ndarray, "..."]) -> None:
    """Raises a ValueError unless these are one or many float images in [0, 1]."""
    if images.ndim not in (3, 4) or images.shape[-1] not in (1, 3):
        raise ValueError(
            "images must have the shape [height width channels] or [batch height width channels] "
            f"with 1 or 3 channels, got {tuple(images.shape)}."
        )
    if min(images.shape[-3:-1]) < MIN_SIDE:
        raise ValueError(f"images must be at least 8 pixels wide and high, got {images.shape}.")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be floats in [0, 1], got {images.dtype}; divide by 255.")
    if isinstance(images, Tracer) or images.size == 0:
        return
    # NumPy's, because JAX's would be traced where known images meet a `jit` around this.
    values = np.asarray(images)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images must lie in [0, 1], got values from {low} to {high}.")


def check_severities(severity: Any, images: Shaped[Array | np.ndarray, "..."]) -> None:
    """Raises a ValueError unless there is one severity in 1 to 5, or one for each image."""
    if np.ndim(severity) and np.shape(severity) != images.shape[:-3]:
        raise ValueError(
            f"severities must be one or one for each of {images.shape[:-3]} images, "
            f"got shape {np.shape(severity)}."
        )
    if not isinstance(severity, Tracer):
        for level in np.ravel(severity).tolist():
            static_severity(level)


def _corrupt_all(
    images: Float[Array, "..."], severity: Any, name: str, quantize: bool, key: PRNGKeyArray
) -> Float[Array, "..."]:
    def one(image: Image, level: Any, key: PRNGKeyArray) -> Image:
        corrupted = CORRUPTIONS[name](image, level, key)
        return quantized(corrupted) if quantize else corrupted

    if images.ndim == 3:
        return one(images, severity, key)
    keys = jax.random.split(key, len(images))
    if jnp.ndim(severity) == 0:
        return jax.vmap(lambda image, key: one(image, severity, key))(images, keys)
    return jax.vmap(one)(images, severity, keys)


_corrupt_static = partial(jax.jit, static_argnames=("severity", "name", "quantize"))(_corrupt_all)
_corrupt_traced = partial(jax.jit, static_argnames=("name", "quantize"))(_corrupt_all)
