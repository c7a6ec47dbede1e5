"""Bilinear sampling of an image at points between its pixels, and beyond its border."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from noiseproof.types import Image


def repeat_mirrored(index: Int[Array, "*shape"], size: int) -> Int[Array, "*shape"]:
    """Mirrors the axis with its border pixel repeated: d c b a | a b c d | d c b a."""
    folded = jnp.mod(index, 2 * size)
    return jnp.minimum(folded, 2 * size - 1 - folded)


def mirrored(index: Int[Array, "*shape"], size: int) -> Int[Array, "*shape"]:
    """Mirrors the axis at its border pixel: d c b | a b c d | c b a."""
    folded = jnp.mod(index, 2 * size - 2)
    return jnp.minimum(folded, 2 * size - 2 - folded)


BORDERS: dict[str, Callable[[Int[Array, "..."], int], Int[Array, "..."]]] = {
    "symmetric": repeat_mirrored,
    "reflect": mirrored,
    "zero": lambda index, size: index.clip(0, size - 1),
}
"""What lies beyond the border, by the names of `jnp.pad`; `"zero"` is black."""


def sample(
    image: Image,
    rows: Float[Array, "height width"],
    columns: Float[Array, "height width"],
    border: str,
) -> Image:
    """The image at fractional rows and columns, bilinear, with a border of `BORDERS`."""
    height, width, channels = image.shape
    flat = image.reshape(-1, channels)
    top, left = jnp.floor(rows), jnp.floor(columns)

    def add(corner: Int[Array, ""], total: Image) -> Image:
        row, column = top + corner // 2, left + corner % 2
        weight = (1 - jnp.abs(rows - row)) * (1 - jnp.abs(columns - column))
        if border == "zero":
            weight = weight * ((row >= 0) & (row < height) & (column >= 0) & (column < width))
        index = BORDERS[border](row.astype(jnp.int32), height) * width
        index = index + BORDERS[border](column.astype(jnp.int32), width)
        return total + weight[..., None] * flat.at[index].get(mode="promise_in_bounds")

    # A loop of the compiled program, whose result is stored: unrolled, XLA works out an image that
    # is sampled twice anew for each of its readers.
    return lax.fori_loop(0, 4, add, jnp.zeros_like(image))
