"""One call for one image or many: names, checks, keys, and the 256 levels of a file."""

import difflib
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from noiseproof.corruptions.images import as_batch
from noiseproof.corruptions.keys import as_key, image_key
from noiseproof.corruptions.severity import NUM_SEVERITIES, NamedCorruption
from noiseproof.corruptions.suites import CORRUPTIONS
from noiseproof.messages import short
from noiseproof.numerics.compiling import quickly_compiled
from noiseproof.numerics.levels import quantized
from noiseproof.types import Image, Severity


def corrupt(
    images: Any,
    name: str,
    severity: Any,
    key: PRNGKeyArray | int | np.integer,
    *,
    first: int | Int[Array, ""] = 0,
    quantize: bool = False,
) -> Shaped[Array, "..."]:
    """Corrupts one image, or a batch in which every image draws its own randomness.

    `noiseproof corrupt` and the evaluation make their images by this function, so that all three
    give the same ones: `noiseproof.corruptions.keys` says what an image's randomness depends on.

    Args:
        images: One image or a batch, 1 or 3 channels last or grey without that axis, sides of at
            least 8: an array of uint8 or of floats in [0, 1], a picture of Pillow, or a list.
        name: A key of `CORRUPTIONS`.
        severity: 1 to 5, also in between, also traced; or one for each image of a batch. A traced
            one outside 1 to 5, which can raise nothing, acts like the nearest end.
        key: A JAX key, or a seed from 0 to 2**32 - 1.
        first: The number of the first image, where the images are part of a data set.
        quantize: Truncate floats to the 256 levels of an 8-bit file, as released arrays are.

    Returns:
        Images of the shape and type that came; uint8 ones are corrupted in their 256 levels.

    Raises:
        ValueError: The name is unknown (close ones are offered), a severity is outside 1 to 5, or
            the images have a wrong type, shape or range. Traced values cannot be checked.
    """
    corruption = find_corruption(name)
    batch, shape = as_batch(images)
    check_channels(corruption, name, batch.shape[-1])
    levels = _severities(severity, len(batch))
    corrupted = _corrupt(
        jnp.asarray(batch), levels, jnp.asarray(first), name, quantize, as_key(key)
    )
    return corrupted.reshape(shape)


def find_corruption(name: Any) -> NamedCorruption:
    """The corruption of that name.

    Raises:
        ValueError: There is none; close names are offered.
    """
    if not isinstance(name, str):
        raise ValueError(f"corruption must be a name such as 'fog', got {short(name)}.")
    if name in CORRUPTIONS:
        return CORRUPTIONS[name]
    plain = "_".join(name.lower().replace("-", " ").split())
    within = [known for known in CORRUPTIONS if len(plain) > 2 and plain in known]
    close = [*within, *difflib.get_close_matches(plain, CORRUPTIONS, n=3)][:3]
    names = ", ".join(dict.fromkeys(close))
    known = ", ".join(known for known in CORRUPTIONS if "/" not in known)
    hint = f"did you mean {names}?" if close else f"known: {known}."
    raise ValueError(f"corruption {short(name)} is unknown; {hint}")


def check_channels(corruption: NamedCorruption, name: str, num_channels: int) -> None:
    """Raises a ValueError where a corruption of that name has no meaning on such images."""
    if corruption.color_only and num_channels == 1:
        raise ValueError(f"corruption {name!r} needs color images, and these are grey.")


def _severities(severity: Any, num_images: int) -> Float[Array, "..."]:
    """One severity, or one for each image, checked where they are known."""
    levels = severity if isinstance(severity, Array) else np.asarray(severity)
    if not any(jnp.issubdtype(levels.dtype, kind) for kind in (jnp.integer, jnp.floating)):
        raise ValueError(
            f"severity must be a number from 1 to 5, or one for each image, got {short(severity)}."
        )
    if levels.shape not in ((), (num_images,)):
        raise ValueError(
            f"severities must be one or one for each of {num_images} images, got shape "
            f"{levels.shape}."
        )
    if not isinstance(levels, Tracer):
        for level in np.ravel(levels).tolist():
            if not 1 <= level <= NUM_SEVERITIES:
                raise ValueError(f"severity must lie between 1 and 5, got {level}.")
    return jnp.asarray(levels, jnp.float32)


@partial(quickly_compiled, static_argnames=("name", "quantize"))
def _corrupt(
    images: Shaped[Array, "batch height width channels"],
    severity: Float[Array, "..."],
    first: Int[Array, ""],
    name: str,
    quantize: bool,
    key: PRNGKeyArray,
) -> Shaped[Array, "batch height width channels"]:
    """The one program of a name and a shape: severities are traced, so that it serves them all."""
    is_uint8 = images.dtype == jnp.uint8

    def one(image: Image, level: Severity, index: Int[Array, ""]) -> Image:
        corrupted = CORRUPTIONS[name](image, level, image_key(name, level, index, key))
        return quantized(corrupted) if quantize or is_uint8 else corrupted

    floats = images / jnp.float32(255) if is_uint8 else images
    one_each = jax.vmap(one, in_axes=(0, 0 if severity.ndim else None, 0))
    corrupted = one_each(floats, severity, first + jnp.arange(len(images)))
    return jnp.round(corrupted * 255).astype(jnp.uint8) if is_uint8 else corrupted
