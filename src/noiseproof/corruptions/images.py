"""What `corrupt` takes for images: arrays, pictures and lists of them, as one batch."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Shaped

from noiseproof.messages import short

MIN_SIDE = 8

TOLERANCE = 1e-5
"""By which floats may leave [0, 1], as 32-bit arithmetic makes them; they are clipped."""

Pixels = Shaped[Array | np.ndarray, "..."]


class ImageBatch(NamedTuple):
    """Images as `[batch height width channels]`, and the shape that they came in."""

    images: Pixels
    shape: tuple[int, ...]


def as_batch(images: Any) -> ImageBatch:
    """One or many images as a batch.

    Args:
        images: uint8, or floats in [0, 1]: an array, a picture of Pillow, or a list of such of one
            shape; `[height width channels]`, with an axis for the batch in front or without, and
            without that for the channels where they are grey.

    Raises:
        ValueError: The images have a wrong type, shape or range. Traced values cannot be checked.
    """
    pixels = _stacked(images) if isinstance(images, list | tuple) else _array(images)
    shape = _batch_shape(pixels.shape)
    if pixels.dtype != np.uint8:
        if not jnp.issubdtype(pixels.dtype, jnp.floating):
            raise ValueError(f"images must be uint8, or floats in [0, 1], got {pixels.dtype}.")
        pixels = _in_range(pixels)
    return ImageBatch(pixels.reshape(shape), pixels.shape)


def _array(image: Any) -> Pixels:
    if hasattr(image, "getbands"):  # a picture of Pillow
        if image.mode not in ("L", "RGB"):
            raise ValueError(
                f"pictures must have the mode L or RGB, got {image.mode}: use .convert('RGB')."
            )
        return np.asarray(image)
    if isinstance(image, Array):
        return image
    if hasattr(image, "__array__"):
        return np.asarray(image)
    raise ValueError(f"images must be arrays, pictures or a list of them, got {short(image)}.")


def _stacked(images: list[Any] | tuple[Any, ...]) -> Pixels:
    arrays = [_array(image) for image in images]
    kinds = {(array.shape, str(array.dtype)) for array in arrays}
    if len(kinds) != 1:
        found = ", ".join(f"{dtype} {shape}" for shape, dtype in sorted(kinds)[:3]) or "none"
        raise ValueError(f"images of a list must have one shape and type, got {found}.")
    return jnp.stack(arrays)


def _batch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) == 3 and shape[-1] not in (1, 3) and shape[0] == 3:
        raise ValueError(
            f"images of the shape {shape} may be three grey ones or one with its channels first: "
            f"write {(*shape, 1)} or {(*shape[1:], 3)}."
        )
    grey = len(shape) == 2 or (len(shape) == 3 and shape[-1] not in (1, 3))
    full = (*shape, 1) if grey else shape
    full = (1, *full) if len(full) == 3 else full
    if len(full) != 4 or full[-1] not in (1, 3):
        raise ValueError(
            "images must have the shape [height width channels], with 1 or 3 channels, also with "
            f"a batch in front, also without channels where they are grey, got {shape}."
        )
    check_side(full[1:3])
    return full


def check_side(shape: tuple[int, ...]) -> None:
    """Raises ValueError where images of a height and width are too small to be corrupted."""
    if min(shape) < MIN_SIDE:
        size = "×".join(map(str, shape))
        raise ValueError(f"images must be at least {MIN_SIDE} pixels wide and high, got {size}.")


def _in_range(images: Pixels) -> Pixels:
    if isinstance(images, Tracer) or images.size == 0:
        return images
    # NumPy's, because JAX's would be traced where known images meet a `jit` around this.
    values = np.asarray(images)
    low, high = float(values.min()), float(values.max())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise ValueError(f"images must be uint8 or lie in [0, 1], got values from {low} to {high}.")
    # A clip in the program would halve the gradients of pixels that are just 0 or 1.
    return values.clip(0, 1) if low < 0 or high > 1 else images
