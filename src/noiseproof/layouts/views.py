"""Which axes of a tensor stand where, after it was transposed, reshaped or cut.

Each dimension of an array is a tuple of factors, first the one that changes slowest. A factor is a
part of one axis of the tensor that the array was made from, so that a filter that was laid out as
a matrix still says which of its rows belong to which point and which channel.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

UNKNOWN = -1
"""Axis of a factor of which nothing is known."""


class Factor(NamedTuple):
    """A part of an axis. Attributes: `axis`; `size`; `stride`, entries of the axis in a step."""

    axis: int
    size: int
    stride: int = 1


Dims: TypeAlias = tuple[tuple[Factor, ...], ...]
"""The factors of each dimension; none where its size is 1."""


def whole(shape: Sequence[int], axes: Sequence[int] | None = None) -> Dims:
    """The dimensions of an array of `shape` whose axes are numbered, or named by `axes`."""
    names = range(len(shape)) if axes is None else axes
    return tuple(one(axis, size) for axis, size in zip(names, shape, strict=True))


def one(axis: int, size: int) -> tuple[Factor, ...]:
    """A dimension of one factor."""
    return (Factor(axis, size),) if size > 1 else ()


def unknown(shape: Sequence[int]) -> Dims:
    """Dimensions of which only the sizes are known."""
    return whole(shape, [UNKNOWN] * len(shape))


def axes_of(dims: Dims) -> tuple[int, ...]:
    """All axes that appear in `dims`, in their order, each once."""
    return tuple(dict.fromkeys(factor.axis for dim in dims for factor in dim))


def resized(dims: Dims, shape: Sequence[int]) -> Dims:
    """Dimensions after some were cut, padded or repeated to other sizes."""
    return tuple(
        dim if math.prod(factor.size for factor in dim) == size else _resized(dim, size)
        for dim, size in zip(dims, shape, strict=True)
    )


def _resized(dim: tuple[Factor, ...], size: int) -> tuple[Factor, ...]:
    axes = {factor.axis for factor in dim}
    return one(axes.pop() if len(axes) == 1 else UNKNOWN, size)


def reshaped(dims: Dims, shape: Sequence[int]) -> Dims:
    """Dimensions after a row-major reshape, unknown where a factor does not split evenly."""
    left = [factor for dim in dims for factor in dim]
    result = []
    for size in shape:
        taken = _take(left, size)
        if taken is None:
            return unknown(shape)
        result.append(taken)
    return tuple(result)


def _take(left: list[Factor], size: int) -> tuple[Factor, ...] | None:
    """The next factors whose sizes multiply to `size`, taken off `left`."""
    taken = []
    while size > 1:
        if not left:
            return None
        axis, length, stride = left.pop(0)
        if size % length == 0:
            taken.append(Factor(axis, length, stride))
            size //= length
        elif length % size == 0:
            taken.append(Factor(axis, size, stride * (length // size)))
            left.insert(0, Factor(axis, length // size, stride))
            size = 1
        else:
            return None
    return tuple(taken)


def joined(one_dims: Dims, other: Dims) -> Dims:
    """Dimensions of an elementwise result: of each pair that of which more is known."""
    return tuple(max(pair, key=len) for pair in zip(one_dims, other, strict=True))
