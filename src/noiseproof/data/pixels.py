"""Images as people have them, to uint8 `[batch height width channels]` of one or three channels.

Taken are floats in [0, 1] or 0 to 255, 16 bits, wider whole numbers, true and false; channels
before height and width; the batch as the last axis; flat rows of a square; a fourth channel, which
is dropped. What train and test hold is read in one way.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8

from noiseproof.data.trust import shown

CHANNELS = (1, 3, 4)
"""Grey, color, and color with transparency."""

ROUNDING = 1e-5
"""Floats may leave [0, 1] by so much, as resizing in 32 bits does."""


class Images(NamedTuple):
    """The images of all parts of a data set.

    Attributes:
        images: Name -> uint8 `[batch height width channels]`, contiguous, of one shape.
        notices: What was assumed, a line each.
    """

    images: dict[str, UInt8[np.ndarray, "batch height width channels"]]
    notices: tuple[str, ...]


def byte_images(
    arrays: Mapping[str, Shaped[np.ndarray, "..."]], num_labels: Mapping[str, int]
) -> Images:
    """Brings the images of all parts to one form.

    Args:
        arrays: Name -> images, the training ones first; names are for messages.
        num_labels: Name -> how many labels go with them, which tells the axis of the batch.

    Raises:
        ValueError: Numbers, axes or sizes are of no kind above, or the parts differ.
    """
    notices: dict[str, None] = {}
    shaped = {}
    for name, array in arrays.items():
        shaped[name], said = _in_order(array, num_labels[name], name)
        notices |= dict.fromkeys(said)
    first, *others = shaped
    for name in others:
        if shaped[name].shape[1:] != shaped[first].shape[1:]:
            raise ValueError(
                f"{name} must hold images of shape {shaped[first].shape[1:]} as the training "
                f"images are, got {shaped[name].shape[1:]}."
            )
    factor, said = _scale(shaped)
    notices |= dict.fromkeys(said)
    images = {name: _bytes(array, factor) for name, array in shaped.items()}
    return Images(images, tuple(notices))


def _in_order(
    array: Shaped[np.ndarray, "..."], num_labels: int, name: str
) -> tuple[Shaped[np.ndarray, "batch height width channels"], list[str]]:
    """The images with their axes in order, and what was assumed."""
    if array.dtype.kind not in "buif" or array.dtype == np.longdouble:
        raise ValueError(f"{name} must hold numbers, got {shown(str(array.dtype))}.")
    if array.ndim not in (2, 3, 4):
        raise ValueError(f"{name} must be N x H x W or N x H x W x C, got shape {array.shape}.")
    notices = []
    if len(array) != num_labels and array.shape[-1] == num_labels:
        array = np.moveaxis(array, -1, 0)
        notices.append(f"{name}: the last axis is taken as that of the images.")
    if 0 in array.shape:
        raise ValueError(f"{name} must hold images, got shape {array.shape}.")
    if array.ndim == 2:
        array = _squares(array, name)
        notices.append(f"{name}: rows are taken as images of {array.shape[1]} x {array.shape[2]}.")
    elif array.ndim == 3:
        array = array[..., None]
    elif array.shape[3] not in CHANNELS and array.shape[1] in CHANNELS:
        array = np.moveaxis(array, 1, -1)
        notices.append(f"{name}: the second axis is taken as that of the colors.")
    if array.shape[3] not in CHANNELS:
        raise ValueError(f"{name} must have 1 or 3 channels, last axis, got {array.shape[3]}.")
    if array.shape[3] == 4:
        array = array[..., :3]
        notices.append(f"{name}: the fourth channel is taken as transparency and dropped.")
    return array, notices


def _squares(
    array: Shaped[np.ndarray, "batch pixels"], name: str
) -> Shaped[np.ndarray, "batch side side 1"]:
    side = math.isqrt(array.shape[1])
    if side**2 != array.shape[1]:
        raise ValueError(
            f"{name} must be N x H x W or N x H x W x C, or rows of a square, "
            f"got shape {array.shape}."
        )
    return array.reshape(len(array), side, side, 1)


def _scale(arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> tuple[float, list[str]]:
    """By what the values are to be multiplied, and what was assumed."""
    greatest = {name: _greatest(array, name) for name, array in arrays.items()}
    first, *others = arrays
    dtype = arrays[first].dtype
    for name in others:
        if arrays[name].dtype != dtype:
            raise ValueError(
                f"{name} must be {dtype} as the training images are, got {arrays[name].dtype}."
            )
    levels = {name: _levels(dtype, value) for name, value in greatest.items() if value > 0}
    if len(set(levels.values())) > 1:
        tops = " and ".join(f"{greatest[name]:g}" for name in levels)
        raise ValueError(f"{first} must have the range of the other parts, but they go to {tops}.")
    level = next(iter(levels.values()), 255)
    if dtype == np.uint8 and level == 255:
        return 1.0, []
    top = max(greatest.values())
    if level not in (1, 255, 65_535):
        raise ValueError(f"{first} must lie in [0, 1] or from 0 to 255, got {top:g}.")
    return 255 / level, [f"{first}: {dtype} up to {top:g} is taken as 0 to {level}."]


def _greatest(array: Shaped[np.ndarray, "..."], name: str) -> float:
    low, high = float(array.min()), float(array.max())
    if not (low >= -ROUNDING and math.isfinite(high)):
        wrong = low if not low >= -ROUNDING else high
        raise ValueError(f"{name} must lie in [0, 1] or from 0 to 255, got {wrong:g}.")
    return high


def _levels(dtype: np.dtype, greatest: float) -> float:
    """What white is: 1, 255, 65,535, or the greatest value itself where it is none of them."""
    if greatest <= 1 + ROUNDING:
        return 1
    if greatest <= 255 * (1 + ROUNDING):
        return 255
    return 65_535 if dtype == np.uint16 else greatest


def _bytes(
    array: Shaped[np.ndarray, "batch height width channels"], factor: float
) -> UInt8[np.ndarray, "batch height width channels"]:
    if array.dtype == np.uint8 and factor == 1:
        return np.ascontiguousarray(array)
    images = np.empty(array.shape, np.uint8)
    for image, values in zip(images, array, strict=True):
        image[...] = np.rint(np.clip(values.astype(np.float64) * factor, 0, 255))
    return images
