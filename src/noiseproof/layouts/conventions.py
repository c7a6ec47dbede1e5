"""Which axes of a weight are inputs and which are outputs, by the conventions of libraries.

Flax, Haiku and this package put inputs before outputs and the points of a filter before both
(HWIO); Equinox and PyTorch put outputs first and points last (OIHW). Where a tree is of neither,
its axes are given as optax's Muon takes them, a `MuonDimensionNumbers` for each tensor.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from noiseproof.layouts.tensors import Tensor, own_words, title, words
from noiseproof.messages import short
from noiseproof.types import Params

INPUTS_FIRST = ("noiseproof", "flax", "haiku")
OUTPUTS_FIRST = ("equinox", "torch")
REMEDY = "write layout_of(params, image_shape, apply=lambda params, images: ...)"
"""What decides where names and shapes do not."""

WEIGHT_WORDS = frozenset(
    [
        "kernel",
        "w",
        "weight",
        "weights",
        "filter",
        "filters",
        "dense",
        "linear",
        "conv",
        "fc",
        "hidden",
        "head",
        "out",
        "output",
        "readout",
        "logits",
    ]
)
BIAS_WORDS = frozenset({"bias", "b", "shift", "offset", "beta"})
NORM_WORDS = frozenset({"gain", "scale", "gamma", "norm"})
STATISTIC_WORDS = frozenset({"mean", "variance", "var"})
TABLE_WORDS = {
    "position": frozenset({"pos", "position", "positional", "posembed"}),
    "token": frozenset({"cls", "class", "token", "tokens", "query", "probe", "latents"}),
    "embedding": frozenset({"embedding", "embeddings", "embed"}),
}
"""Words of a tensor's own name that tell tables, the first that fits."""


class Axes(NamedTuple):
    """Attributes: `inputs` and `outputs`, the axes of a weight; `points`, sizes of a filter."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    points: tuple[int, ...] = ()


def table_kind(tensor: Tensor) -> str | None:
    """The kind of a table, by its own name; None of what is none, or is called a weight, too."""
    if own_words(tensor) & WEIGHT_WORDS:
        return None
    return next((kind for kind, known in TABLE_WORDS.items() if own_words(tensor) & known), None)


def is_vector(tensor: Tensor) -> bool:
    """Whether a tensor is no weight: by its own name, or as it has one axis."""
    vector_words = BIAS_WORDS | NORM_WORDS | STATISTIC_WORDS
    named = table_kind(tensor) or own_words(tensor) & vector_words
    return len(tensor.shape) < 2 or bool(named)


def is_second_of_pair(tensor: Tensor, tensors: Sequence[Tensor]) -> bool:
    """Whether a tensor is the bias of a (weight, bias), of one unit in all axes but the last."""
    beside = [other for other in tensors if other.path[:-1] == tensor.path[:-1]]
    if not unnamed(tensor) or len(beside) != 2 or beside[1] != tensor or is_vector(beside[0]):
        return False
    return math.prod(tensor.shape) == tensor.shape[-1] == beside[0].shape[-1]


def unnamed(tensor: Tensor) -> bool:
    """Whether a tensor has no name of its own, as in lists of (weight, bias)."""
    return not tensor.path or tensor.in_sequence[-1]


def named_axes(
    tensors: Sequence[Tensor], image_shape: tuple[int, int, int], convention: str | None
) -> dict[int, Axes]:
    """The axes of all weights, by leaf.

    Raises:
        ValueError: The convention is unknown, or the axes of a weight are not to be told.
    """
    known = INPUTS_FIRST + OUTPUTS_FIRST
    if convention is not None and convention not in known:
        raise ValueError(
            f"convention must be one of {', '.join(known)}, or MuonDimensionNumbers for each"
            f" tensor, got {short(convention)}."
        )
    weights = [t for t in tensors if not is_vector(t) and not is_second_of_pair(t, tensors)]
    for weight in weights:
        if not own_words(weight) & WEIGHT_WORDS and not unnamed(weight):
            raise ValueError(f"The name of {title(weight)} tells no role; {REMEDY}.")
    outputs_first = (
        convention in OUTPUTS_FIRST
        if convention
        else bool(weights) and puts_outputs_first(weights, image_shape)
    )
    find = outputs_first_axes if outputs_first else inputs_first_axes
    return {weight.leaf: find(weight) for weight in weights}


def puts_outputs_first(weights: Sequence[Tensor], image_shape: tuple[int, int, int]) -> bool:
    """Whether weights that are all called `weight` have outputs before inputs.

    Raises:
        ValueError: Both ways round a weight fits the image.
    """
    if not all("weight" in own_words(weight) for weight in weights):
        return False
    shapes = [weight.shape for weight in weights]
    if any(weight.is_attribute for weight in weights):
        return True
    ways = [[find(one) for one in weights] for find in (inputs_first_axes, outputs_first_axes)]
    fitting = [
        any(takes_image(*pair, image_shape) for pair in zip(found, shapes, strict=True))
        for found in ways
    ]
    square = [all(len(set(axes.points)) < 2 for axes in found) for found in ways]
    if fitting[0] != fitting[1]:
        return fitting[1]
    if square[0] != square[1]:
        return square[1]
    if all(any(weight.in_sequence) for weight in weights):
        return False  # this package's own classifiers are lists of layers
    raise ValueError(
        f"The inputs of {title(weights[0])} may be its first or its last axes; write"
        " layout_of(params, image_shape, convention='flax'), or 'torch', or give apply=."
    )


def takes_image(axes: Axes, shape: tuple[int, ...], image_shape: tuple[int, int, int]) -> bool:
    """Whether a weight may be the first: a filter of its channels, or one row for each pixel."""
    if axes.points:
        return shape[axes.inputs[-1]] == image_shape[-1]
    return math.prod(shape[axis] for axis in axes.inputs) == math.prod(image_shape)


def inputs_first_axes(weight: Tensor) -> Axes:
    """The axes of a weight of Flax, Haiku or this package."""
    shape, ndim = weight.shape, len(weight.shape)
    if ndim == 2:
        return Axes((0,), (1,))
    if ndim in (4, 5):
        return Axes(tuple(range(ndim - 1)), (ndim - 1,), shape[:-2])
    module = words(weight.path[-2]) if len(weight.path) > 1 else set()
    if ndim == 3 and module & {"query", "key", "value"}:
        return Axes((0,), (1, 2))
    if ndim == 3 and module == {"out"}:
        return Axes((0, 1), (2,))
    raise ValueError(f"The axes of {title(weight)} are not told by its name; {REMEDY}.")


def outputs_first_axes(weight: Tensor) -> Axes:
    """The axes of a weight of Equinox or PyTorch."""
    shape, ndim = weight.shape, len(weight.shape)
    if ndim == 3 or ndim > 5:  # of three axes are norms over channels and places, too
        raise ValueError(f"The axes of {title(weight)} are not told by its name; {REMEDY}.")
    return Axes((*range(2, ndim), 1), (0,), shape[2:])


def given_axes(tensors: Sequence[Tensor], params: Params, dimensions: Any) -> dict[int, Axes]:
    """The axes of weights as `optax.contrib.MuonDimensionNumbers`: a tree of them, a prefix of one,
    or a function of the params that returns either. A tensor of None is no weight.

    Raises:
        ValueError: The tree does not fit, or an axis is none of its tensor.
    """

    def is_leaf(node: Any) -> bool:
        return node is None or hasattr(node, "reduction_axis")

    tree = dimensions(params) if callable(dimensions) else dimensions
    try:
        spread = jax.tree.map(
            lambda one, part: jax.tree.map(lambda _: [one], part), tree, params, is_leaf=is_leaf
        )
        found = [
            one
            for (one,) in jax.tree.leaves(
                spread, is_leaf=lambda n: isinstance(n, list) and len(n) == 1 and is_leaf(n[0])
            )
        ]
    except (ValueError, TypeError):
        found = []
    if len(found) != len(tensors) or not all(map(is_leaf, found)):
        raise ValueError(
            "convention must be the name of one, or a MuonDimensionNumbers or None for each tensor"
            f" of the params, as a tree, a prefix or a function, got {short(tree)}."
        )
    return {
        tensor.leaf: dimension_axes(tensor, one)
        for tensor, one in zip(tensors, found, strict=True)
        if one is not None
    }


def dimension_axes(tensor: Tensor, numbers: Any) -> Axes:
    """The axes that a `MuonDimensionNumbers` names."""
    ndim = len(tensor.shape)
    inputs, outputs = (
        tuple(axis) if isinstance(axis, Sequence) else (axis,)
        for axis in (numbers.reduction_axis, numbers.output_axis)
    )
    if any(not -ndim <= axis < ndim for axis in (*inputs, *outputs)):
        raise ValueError(f"The axes {short((*inputs, *outputs))} are none of {title(tensor)}.")
    inputs, outputs = (tuple(axis % ndim for axis in axes) for axes in (inputs, outputs))
    if len({*inputs, *outputs}) < len(inputs) + len(outputs):
        raise ValueError(f"An axis of {title(tensor)} is named twice.")
    points = tuple(tensor.shape[axis] for axis in inputs[:-1]) if len(inputs) > 2 else ()
    return Axes(inputs, outputs, points)
