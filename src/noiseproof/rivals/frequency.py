"""Filter frequency regularization: the gradient of a penalty on what varies fast within filters.

Lukasik, Gavrikov, J. Keuper, M. Keuper, TMLR 2023: each filter is written in the cosine basis of
its own size (DCT-II), and the norms over all filters of a layer of each coefficient are summed,
weighted by its squared frequency. Here frequencies are shares of the filter's side, so that
one strength serves filters of all sizes; their hinge on the order of coefficients is left out.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Scalar

from noiseproof.layouts.layout import fit_layout
from noiseproof.optimizers.matrices import as_matrices
from noiseproof.types import Layout, Optimizer, Params, TensorRole


def cosine_basis(size: int) -> Float[np.ndarray, "frequencies points"]:
    """The orthonormal basis of the DCT-II."""
    points = np.arange(size)
    rows = np.cos(np.pi * np.outer(points, points + 0.5) / size)
    return rows * np.where(points == 0, 1.0, 2.0**0.5)[:, None] / size**0.5


def frequency_penalty(role: TensorRole, weight: Float[Array, "..."]) -> Scalar:
    """Norms of a layer's cosine coefficients times squared frequency, of filters of the role."""
    height, width, _ = role.spatial_shape
    filters = as_matrices(role, weight).reshape(height, width, -1)
    rows, columns = cosine_basis(height), cosine_basis(width)
    squares = (jnp.einsum("ih,jw,hwk->ijk", rows, columns, filters) ** 2).sum(axis=-1)
    square_frequencies = np.add.outer(
        (np.arange(height) / height) ** 2, (np.arange(width) / width) ** 2
    )
    # The root has no gradient at 0, where the penalty has its least value.
    safe = jnp.sqrt(jnp.where(squares > 0.0, squares, 1.0))
    return (square_frequencies * jnp.where(squares > 0.0, safe, 0.0)).sum()


def add_frequency_penalty(strength: float | Scalar, layout: Layout) -> Optimizer:
    """Adds the gradient of the penalty, times its strength, to that of the loss.

    Raises:
        ValueError: On `update`, without params or if the layout is not theirs.
    """

    def penalty(params: Params) -> Scalar:
        pairs = zip(fit_layout(layout, params), jax.tree.leaves(params), strict=True)
        found = [frequency_penalty(*pair) for pair in pairs if len(pair[0].spatial_shape) == 3]
        return sum(found, jnp.zeros(()))

    @optax.stateless
    def added(updates: Params, params: Params | None) -> Params:
        if params is None:
            raise ValueError("The penalty needs params: call update(grads, state, params).")
        return optax.tree.add_scale(updates, strength, jax.grad(penalty)(params))

    return added
