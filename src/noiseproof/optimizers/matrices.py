"""Tensors as the matrices that they act as, inputs before outputs, whatever their library's axes.

A rule that needs a weight as a matrix, or a filter as planes of points, asks here, so that a
filter of (outputs, inputs, height, width) is treated as the same one of (height, width, inputs,
outputs).
"""

import math
from collections.abc import Callable

import jax
from jaxtyping import Array, Float, Shaped

from noiseproof.kinds import MATRICES, UNITS, nearest_kind
from noiseproof.types import TensorRole


def split_axes(role: TensorRole, ndim: int) -> tuple[tuple[int, ...], ...]:
    """The axes of a tensor that are neither, those of its inputs, and those of its outputs.

    Args:
        role: Says which they are; where it does not, the last one is of the outputs.
        ndim: Axes of the tensor, unfolded if the role says so.
    """
    if ndim and not role.inputs and not role.outputs:
        return (), tuple(range(ndim - 1)), (ndim - 1,)
    used = {*role.inputs, *role.outputs}
    return tuple(axis for axis in range(ndim) if axis not in used), role.inputs, role.outputs


def fans(role: TensorRole, shape: tuple[int, ...]) -> tuple[int, int]:
    """Fan in and fan out of a tensor: the points and channels it sums over, the units it yields.

    A bias or gain has a unit for each of its entries, however a library lays them out; of other
    tensors that are no matrices axes of size one are left out.
    """
    unfolded = role.unfolded or shape
    if nearest_kind(role.kind) not in MATRICES and not role.inputs and not role.outputs:
        if role.kind in UNITS:
            return 1, math.prod(shape)
        unfolded = tuple(size for size in unfolded if size > 1) or (1,)
    _, inputs, outputs = split_axes(role, len(unfolded))
    return math.prod(unfolded[axis] for axis in inputs), math.prod(
        unfolded[axis] for axis in outputs
    )


def as_matrices(
    role: TensorRole, tensor: Shaped[Array, "..."]
) -> Shaped[Array, "*stack inputs outputs"]:
    """A tensor as one matrix, or a stack of them where it has axes that are neither."""
    unfolded = tensor.reshape(role.unfolded or tensor.shape)
    stack, inputs, outputs = split_axes(role, unfolded.ndim)
    sizes = [math.prod(unfolded.shape[axis] for axis in axes) for axes in (stack, inputs, outputs)]
    ordered = unfolded.transpose(*stack, *inputs, *outputs)
    shape = sizes[1:] if sizes[0] == 1 else sizes
    return ordered.reshape(shape)


def from_matrices(
    role: TensorRole, matrices: Shaped[Array, "..."], shape: tuple[int, ...]
) -> Shaped[Array, "..."]:
    """The tensor of `shape` of which `as_matrices` made `matrices`."""
    unfolded = role.unfolded or shape
    order = [axis for axes in split_axes(role, len(unfolded)) for axis in axes]
    ordered = matrices.reshape([unfolded[axis] for axis in order])
    places = [order.index(axis) for axis in range(len(order))]
    return ordered.transpose(places).reshape(shape)


def on_matrices(
    function: Callable[[Float[Array, "inputs outputs"]], Float[Array, "inputs outputs"]],
    role: TensorRole,
    tensor: Float[Array, "..."],
) -> Float[Array, "..."]:
    """A function of matrices applied to a tensor, which keeps its shape."""
    matrices = as_matrices(role, tensor)
    mapped = function if matrices.ndim == 2 else jax.vmap(function)
    return from_matrices(role, mapped(matrices), tensor.shape)


def on_filters(
    function: Callable[[Float[Array, "height width channels units"]], Float[Array, "..."]],
    role: TensorRole,
    tensor: Float[Array, "..."],
) -> Float[Array, "..."]:
    """A function of (height, width, channels, units) applied to filters, whatever their axes."""

    def on_matrix(matrix: Float[Array, "inputs outputs"]) -> Float[Array, "inputs outputs"]:
        return function(matrix.reshape(*role.spatial_shape, -1)).reshape(matrix.shape)

    return on_matrices(on_matrix, role, tensor)
