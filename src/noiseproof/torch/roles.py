"""What a tensor of a classifier is, and how a rule sees it: as matrices, as filters.

PyTorch's weights have their outputs first and the points of a filter last, and its images are
flattened channels first; so a convolution of (outputs, channels, height, width) and a dense layer
on a flattened image are the same filters after one reshape.
"""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from noiseproof import kinds
from noiseproof.kinds import KINDS, MATRICES, UNITS
from noiseproof.messages import short

NEAREST_KIND = {kind: nearest for kind, nearest in kinds.NEAREST_KIND.items() if nearest in KINDS}
"""Kinds of params, and the one whose rates each gets; statistics are buffers here."""


CHANNELS = (1, 3)
"""Of gray images and those of three colors."""


class Role(NamedTuple):
    """What a tensor is.

    Attributes:
        kind: One of `NEAREST_KIND`.
        points: (channels, height, width) of a filter, or of the image for a first dense layer; ()
            of what has none.
        stack: Parts along the first axis that are tensors of their own, as query, key and value.
        inputs_first: Whether inputs come before outputs, as in transposed convolutions.
        is_last_channels: Whether a first dense layer's image was flattened channels last.
    """

    kind: str
    points: tuple[int, ...] = ()
    stack: int = 1
    inputs_first: bool = False
    is_last_channels: bool = False


def row_of(role: Role) -> int:
    """The row of theta's tables for a tensor."""
    return KINDS.index(NEAREST_KIND[role.kind])


def is_matrix(role: Role) -> bool:
    """Whether a tensor has an orthogonalized direction."""
    return NEAREST_KIND[role.kind] in MATRICES


def as_matrices(role: Role, tensor: Float[Tensor, "..."]) -> Float[Tensor, "... outputs inputs"]:
    """A weight as one matrix of (outputs, inputs), or a stack of them."""
    if role.stack > 1:
        return tensor.reshape(role.stack, tensor.shape[0] // role.stack, -1)
    return (tensor.transpose(0, 1) if role.inputs_first else tensor).flatten(1)


def from_matrices(
    role: Role, matrices: Float[Tensor, "... outputs inputs"], like: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """The tensor of the shape of `like` of which `as_matrices` made `matrices`."""
    if not role.inputs_first:
        return matrices.reshape(like.shape)
    outputs, inputs, *points = like.transpose(0, 1).shape
    return matrices.reshape(outputs, inputs, *points).transpose(0, 1)


def fans(role: Role, shape: tuple[int, ...]) -> tuple[int, int]:
    """Fan in and fan out: the points and channels that a tensor sums over, the units it yields."""
    if is_matrix(role):
        outputs = shape[1] if role.inputs_first else shape[0]
        return math.prod(shape) // outputs, outputs // role.stack
    if role.kind in UNITS:
        return 1, math.prod(shape) // role.stack
    counted = [size for size in shape if size > 1] or [1]
    return math.prod(counted[:-1]), counted[-1] // role.stack


def weight_role(kind: str, shape: tuple[int, ...], *, inputs_first: bool = False) -> Role:
    """The role of a weight by its shape: filters of two dimensions have points."""
    if NEAREST_KIND[kind] not in MATRICES or len(shape) != 4 or kind == "pointwise":
        return Role(kind, inputs_first=inputs_first)
    channels = shape[0] if inputs_first else shape[1]
    return Role(kind, (channels, *shape[2:]), inputs_first=inputs_first)


def check_image_shape(image_shape: Any) -> None:
    """Raise ValueError unless it is None or (channels, height, width), as far as sizes tell."""
    if image_shape is None:
        return
    is_shape = isinstance(image_shape, Sequence) and len(image_shape) == 3
    if not is_shape or not all(
        isinstance(size, Integral) and int(size) > 0 for size in image_shape
    ):
        raise ValueError(
            "image_shape must be (channels, height, width), three positive whole numbers, got"
            f" {short(image_shape)}."
        )
    height, width, channels = image_shape
    if channels in CHANNELS and height not in CHANNELS:
        raise ValueError(
            "image_shape must be (channels, height, width), got what looks like (height, width,"
            f" channels), {tuple(image_shape)}; write ({channels}, {height}, {width}), or, if the"
            " order is right, example=images in its place."
        )


def declared_role(
    role: str | Role,
    name: str,
    shape: tuple[int, ...],
    image_shape: tuple[int, int, int] | None,
    read: Role | None = None,
) -> Role:
    """The role that was said, a kind completed by the shape and by what is read.

    Args:
        role: What was said.
        name: Of the param.
        shape: Of the param.
        image_shape: Of one image, or None.
        read: The role that would be the param's, if nothing were said.

    Raises:
        ValueError: There is no such kind, or the tensor can not be of it.
    """
    if isinstance(role, str) and role in NEAREST_KIND:
        role = weight_role(role, shape, inputs_first=read is not None and read.inputs_first)
        if role.kind == "first" and len(shape) == 2:
            if image_shape is not None:
                role = role._replace(points=tuple(image_shape))
            elif read is not None and read.kind == "first":
                role = read
            else:
                raise ValueError(
                    f"{short(name)[1:-1]} is a first dense layer; write"
                    " image_shape=(channels, height, width)."
                )
    role = role if isinstance(role, Role) else Role(str(role))
    check_role(role, short(name)[1:-1], shape)
    return role


def check_role(role: Role, name: str, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless a tensor may have a role."""
    if role.kind not in NEAREST_KIND:
        raise ValueError(
            f"The role of {name} must be one of {', '.join(NEAREST_KIND)}, got {short(role.kind)}."
        )
    if not isinstance(role.stack, int) or role.stack < 1:
        raise ValueError(f"The stack of {name} must be 1 or more, got {short(role.stack)}.")
    if not is_matrix(role):
        return
    if len(shape) < 2:
        raise ValueError(
            f"{name} must have two axes or more to be {role.kind}, got shape {tuple(shape)}; shards"
            " that were flattened (FSDP) have no roles: give the optimizer whole tensors."
        )
    if shape[0] % role.stack:
        raise ValueError(f"{name} of shape {tuple(shape)} is no stack of {role.stack} matrices.")
    if role.points and as_size(shape, role) != math.prod(role.points):
        turned = role._replace(inputs_first=not role.inputs_first)
        fits = as_size(shape, turned) == math.prod(role.points)
        remedy = f"say {turned}" if fits else "its role must say (channels, height, width)"
        raise ValueError(
            f"{name} of shape {tuple(shape)} has no filters of {role.points}; {remedy}."
        )


def as_size(shape: tuple[int, ...], role: Role) -> int:
    """Entries of each unit of a weight."""
    return math.prod(shape) // (shape[1] if role.inputs_first else shape[0])
