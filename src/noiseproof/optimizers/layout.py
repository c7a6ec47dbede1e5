"""Where each tensor of a classifier sits, read off its params.

A learned rule treats the first layer, the readout and the biases of a classifier each in its own
way, and a classifier is any pytree. The roles are read from the tensors' ranks and names, layer
by layer from input to readout; numbers within names count as numbers, so that `Dense_10` comes
after `Dense_2`. Where this cannot be read, the layout may be written by hand: a pytree of the
structure of the params with a `TensorRole` in the place of each tensor.
"""

import math
import re
from itertools import takewhile
from typing import Any, NamedTuple

import jax

from noiseproof.types import Layout, Params, TensorRole

BIAS_NAMES = frozenset({"bias", "b", "shift", "offset", "beta"})
NORM_NAMES = frozenset({"gain", "scale", "gamma", "norm"})
STATISTIC_NAMES = frozenset({"mean", "variance", "var"})
VECTOR_NAMES = {"bias": BIAS_NAMES, "norm": NORM_NAMES, "statistic": STATISTIC_NAMES}


class Tensor(NamedTuple):
    """A leaf of the params: its shape, the names on its way, its place in tree order."""

    shape: tuple[int, ...]
    path: tuple[str, ...]
    leaf: int


def layout_of(params: Params, image_shape: tuple[int, int, int]) -> Layout:
    """The roles of all tensors of `params`.

    Args:
        params: Pytree of arrays or shapes. Tensors of two or more axes are weights, inputs before
            outputs; all others are biases, norms or statistics of norms, by their names.
        image_shape: (height, width, channels) of one image.

    Returns:
        A pytree of the structure of `params` with `TensorRole` leaves. The weight of a linear
        classifier is a first one. A norm apart from all weights gets the depth of the weight
        of its number, or of the one before it.

    Raises:
        ValueError: There is no weight, the first dense weight does not fit the image, or the name
            of a tensor tells no role.
    """
    leaves, structure = jax.tree.flatten_with_path(params)
    tensors = [
        Tensor(tuple(leaf.shape), tuple(_name(key) for key in path), index)
        for index, (path, leaf) in enumerate(leaves)
    ]
    weights = [t for t in sorted(tensors, key=_natural_order) if len(t.shape) >= 2]
    if not weights:
        raise ValueError("params must hold at least one weight of two or more axes, got none.")
    places = {weight.leaf: place for place, weight in enumerate(weights)}
    return jax.tree.unflatten(
        structure,
        [
            _weight_role(t, places[t.leaf], len(weights), image_shape)
            if t.leaf in places
            else TensorRole(_vector_kind(t), (), _depth(_place(t, weights), len(weights)))
            for t in tensors
        ],
    )


def roles(layout: Layout) -> list[TensorRole]:
    """The roles of `layout` in the order of the leaves of the params."""
    return jax.tree.leaves(layout, is_leaf=_is_role)


def check_layout(layout: Layout, params: Params) -> None:
    """Raise ValueError unless `layout` has the structure of `params`, with roles for leaves."""
    required = jax.tree.structure(params)
    found = jax.tree.structure(layout, is_leaf=_is_role)
    if found != required:
        raise ValueError(f"layout must have the structure of the params, {required}, got {found}.")
    for leaf in jax.tree.leaves(layout, is_leaf=_is_role):
        if not _is_role(leaf):
            raise ValueError(f"layout must hold a TensorRole for each tensor, got {leaf!r}.")


def _is_role(node: Any) -> bool:
    return isinstance(node, TensorRole)


def _name(key: Any) -> str:
    """The word of one step of a tree path, whatever the container."""
    return jax.tree_util.keystr((key,), simple=True)


def _natural_order(tensor: Tensor) -> list[list[tuple[bool, int, str]]]:
    """Sort key of a path in which numbers within names are compared as numbers."""
    return [
        [
            (not part.isdigit(), int(part) if part.isdigit() else 0, part)
            for part in re.split(r"(\d+)", name)
            if part
        ]
        for name in tensor.path
    ]


def _weight_role(
    weight: Tensor, place: int, num_weights: int, image_shape: tuple[int, int, int]
) -> TensorRole:
    kind = "first" if place == 0 else "readout" if place == num_weights - 1 else "hidden"
    return TensorRole(kind, _spatial_shape(weight, place, image_shape), _depth(place, num_weights))


def _spatial_shape(
    weight: Tensor, place: int, image_shape: tuple[int, int, int]
) -> tuple[int, ...]:
    if len(weight.shape) > 2:
        return weight.shape[:-1]
    if place > 0:
        return ()
    if math.prod(weight.shape[:-1]) != math.prod(image_shape):
        raise ValueError(
            f"The first weight must take the {math.prod(image_shape)} values of an image of shape"
            f" {tuple(image_shape)}, got {'/'.join(weight.path)} of shape {weight.shape};"
            " give the layout by hand."
        )
    return tuple(image_shape)


def _vector_kind(tensor: Tensor) -> str:
    """What a tensor of less than two axes is: a bias, a norm or a statistic of one, by the last
    name that tells."""
    for name in reversed(tensor.path):
        words = set(re.split(r"[^a-z]+", name.lower()))
        for kind, known in VECTOR_NAMES.items():
            if words & known:
                return kind
    names = ", ".join(sorted(frozenset().union(*VECTOR_NAMES.values())))
    raise ValueError(
        f"A tensor of less than two axes must be named one of {names},"
        f" got {'/'.join(tensor.path) or 'no name'}; give the layout by hand."
    )


def _place(tensor: Tensor, weights: list[Tensor]) -> int:
    """The place of the weight to whose layer a vector belongs.

    This is the weight with which it shares most of the tree and, within that, the numbers of its
    name (`b2` goes with `w2`); where no number fits, the last weight before it.
    """
    kinship = [_kinship(tensor.path, weight.path) for weight in weights]
    shared, same_numbers = max(kinship)
    kin = [place for place, one in enumerate(kinship) if one == (shared, same_numbers)]
    before = [p for p in kin if _natural_order(weights[p]) <= _natural_order(tensor)]
    return kin[0] if same_numbers or not before else before[-1]


def _kinship(path: tuple[str, ...], other: tuple[str, ...]) -> tuple[int, bool]:
    """Length of the common beginning of two paths, and whether the same numbers follow."""
    shared = sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(path, other, strict=False))
    )
    numbers, other_numbers = (re.findall(r"\d+", "/".join(p[shared:])) for p in (path, other))
    return shared, numbers == other_numbers


def _depth(place: int, num_weights: int) -> float:
    return place / max(num_weights - 1, 1)
