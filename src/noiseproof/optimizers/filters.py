"""Spatial means of a layer's filters, which rules and rivals decay towards."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def neighborhood_mean(
    filters: Float[Array, "height width channels units"],
) -> Float[Array, "height width channels units"]:
    """The mean of every point and its eight neighbors, edge points repeated beyond the edge."""
    for axis in (0, 1):
        size = filters.shape[axis]
        widths = [(int(at == axis),) * 2 for at in range(filters.ndim)]
        padded = jnp.pad(filters, widths, mode="edge")
        shifted = [jax.lax.slice_in_dim(padded, at, at + size, axis=axis) for at in range(3)]
        filters = jnp.mean(jnp.stack(shifted), axis=0)
    return filters
