"""Roles of tensors from their names and shapes alone, where these decide; refused where not.

What is taken for sure: the order of lists and tuples; that of siblings of one name by numbers that
a user gave (`layers_2` before `layers_10`); the first weight by the image's channels or pixels, the
readout by the number of classes; and the chain of layers whose sizes fit one way only. The order
of the alphabet says nothing.
"""

import math
import warnings
from collections.abc import Sequence

from noiseproof.layouts.conventions import (
    BIAS_WORDS,
    NORM_WORDS,
    REMEDY,
    STATISTIC_WORDS,
    WEIGHT_WORDS,
    Axes,
    is_second_of_pair,
    table_kind,
    takes_image,
    unnamed,
)
from noiseproof.layouts.order import in_order, num_units, place_of
from noiseproof.layouts.tensors import Tensor, own_words, title, words
from noiseproof.types import TensorRole


def named_roles(
    tensors: Sequence[Tensor],
    axes: dict[int, Axes],
    image_shape: tuple[int, int, int],
    num_classes: int | None,
) -> list[TensorRole]:
    """The role of each tensor.

    Args:
        tensors: All of them, in tree order.
        axes: Of the weights, by leaf.
        image_shape: (height, width, channels) of one image.
        num_classes: Number of logits, if known.

    Raises:
        ValueError: Names and shapes leave open where a tensor sits.
    """
    weights = [tensor for tensor in tensors if tensor.leaf in axes]
    if not weights:
        raise ValueError("params must hold at least one weight of two or more axes, got none.")
    may_be_first = {t.leaf for t in weights if takes_image(axes[t.leaf], t.shape, image_shape)}
    ordered = in_order(weights, axes, may_be_first, num_classes)
    check_ends(ordered, axes, may_be_first, image_shape, num_classes)
    places = {weight.leaf: place for place, weight in enumerate(ordered)}
    depth = 1.0 / max(len(ordered) - 1, 1)
    roles = []
    for tensor in tensors:
        if tensor.leaf in places:
            place = places[tensor.leaf]
            is_last = place == len(ordered) - 1
            role = weight_role(tensor, axes[tensor.leaf], place == 0, is_last, image_shape)
        else:
            place = place_of(tensor, tensors, ordered, axes)
            role = TensorRole(vector_kind(tensor, tensors), (), 0.0)
        roles.append(role._replace(depth_fraction=place * depth))
    return roles


def check_ends(
    ordered: Sequence[Tensor],
    axes: dict[int, Axes],
    may_be_first: set[int],
    image_shape: tuple[int, int, int],
    num_classes: int | None,
) -> None:
    """Raise ValueError unless the first weight takes the image and the last yields the logits."""
    first, last = ordered[0], ordered[-1]
    if first.leaf not in may_be_first:
        wanted = (
            f"{image_shape[-1]} channels"
            if axes[first.leaf].points
            else f"{math.prod(image_shape)} values"
        )
        raise ValueError(
            f"The first weight must take the {wanted} of an image of shape {tuple(image_shape)},"
            f" got {title(first)}; {REMEDY}."
        )
    if num_classes is not None and num_units(last, axes) != num_classes:
        raise ValueError(
            f"The last weight must yield {num_classes} logits, got {title(last)}; {REMEDY}."
        )


def weight_role(
    weight: Tensor,
    axes: Axes,
    is_first: bool,
    is_last: bool,
    image_shape: tuple[int, int, int],
) -> TensorRole:
    """The role of a weight, at depth 0.

    Raises:
        ValueError: How pixels lie in its inputs is open, as libraries of channels first have it.
    """
    kind = "readout" if is_last else "hidden"
    spatial_shape = ()
    if axes.points:
        spatial_shape = tuple(weight.shape[axis] for axis in axes.inputs)
        if math.prod(axes.points) == 1 and not is_first:
            kind, spatial_shape = "readout" if is_last else "pointwise", ()
        elif spatial_shape[-1] == 1 and weight.shape[axes.outputs[-1]] > 1 and not is_last:
            kind = "depthwise"
    elif is_first:
        if axes.inputs != (0,) and image_shape[-1] > 1:
            raise ValueError(
                f"Whether {title(weight)} takes the channels of an image first or last is not told"
                f" by its name; {REMEDY}."
            )
        spatial_shape = tuple(image_shape)
    kind = "first" if is_first else kind
    last = len(weight.shape) - 1
    if axes.inputs == tuple(range(last)) and axes.outputs == (last,):
        return TensorRole(kind, spatial_shape, 0.0)
    return TensorRole(kind, spatial_shape, 0.0, axes.inputs, axes.outputs)


def vector_kind(tensor: Tensor, tensors: Sequence[Tensor]) -> str:
    """What a tensor is that is no weight, by the last name that tells.

    Where none does it is a gain, with a warning; without any name it is the bias of the one weight
    before it, as in lists of (weight, bias).

    Raises:
        ValueError: It has no name, and others stand beside it, or it has several axes.
    """
    if table_kind(tensor) or not tensor.shape:
        return table_kind(tensor) or "scalar"
    if sum(size > 1 for size in tensor.shape) > 1:
        raise ValueError(f"Nothing says over what axes {title(tensor)} lies; {REMEDY}.")
    if own_words(tensor) & STATISTIC_WORDS:
        return "statistic"
    for name in reversed(tensor.path):
        if words(name) & BIAS_WORDS:
            return "bias"
        if words(name) & NORM_WORDS:
            return "norm"
    if unnamed(tensor):
        if is_second_of_pair(tensor, tensors):
            return "bias"
        raise ValueError(f"Nothing says what {title(tensor)} is; {REMEDY}.")
    if not own_words(tensor) & WEIGHT_WORDS:
        warnings.warn(
            f"The name of {title(tensor)} tells no role; it is taken for a gain."
            " With apply= its role is read from the forward pass.",
            stacklevel=2,
        )
    return "norm"
