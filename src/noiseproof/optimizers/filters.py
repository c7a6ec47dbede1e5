"""Spatial means of a layer's filters, which rules and rivals decay towards."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def neighborhood_mean(
    filters: Float[Array, "height width channels units"],
) -> Float[Array, "height width channels units"]:
    """The mean of every point and its eight neighbors, edge points repeated beyond the edge.

    Barriers keep XLA from fusing these passes, and those of a mean of means: a fused pass computes
    all before it anew for each of its three operands.
    """
    apart = jax.lax.optimization_barrier
    widths = [(1, 1), (1, 1), (0, 0), (0, 0)]
    padded = apart(jnp.pad(filters, widths, mode="edge"))
    rows = apart(padded[:-2] + padded[1:-1] + padded[2:])
    return apart((rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9.0)
