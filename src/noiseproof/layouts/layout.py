"""Where each tensor of a classifier sits, and what it does there.

A learned rule treats the first layer, the readout and the biases of a classifier each in its own
way, and a classifier is any pytree. Where its forward pass is given the roles are read from that,
whatever library it was written in. Else they are read from names and shapes, or refused where
these leave them open. A layout may also be written by hand: a pytree of the structure of the
params with a `TensorRole` in the place of each tensor.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree

from noiseproof.layouts.conventions import given_axes, named_axes
from noiseproof.layouts.named_roles import named_roles
from noiseproof.layouts.tensors import check_image_shape, names, tensors_of
from noiseproof.layouts.traced_roles import traced_roles
from noiseproof.layouts.tracing import trace
from noiseproof.messages import short
from noiseproof.types import Layout, Params, TensorRole


def layout_of(
    params: Params,
    image_shape: tuple[int, int, int],
    *,
    apply: Callable[[Params, Any], Any] | None = None,
    convention: Any = None,
    num_classes: int | None = None,
) -> Layout:
    """The roles of all tensors of `params`.

    Args:
        params: Pytree of float arrays or their shapes.
        image_shape: (height, width, channels) of one image.
        apply: `(params, images) -> logits`, for images of shape (batch, height, width, channels).
            It is traced once, on shapes alone, and says all that names leave open.
        convention: Which axes of a weight are inputs and outputs: the name of a library (`"flax"`,
            `"haiku"`, `"equinox"`, `"torch"`), or `optax.contrib.MuonDimensionNumbers` for each
            tensor, as a tree, a prefix of one or a function of the params. None detects it, and
            `apply` needs none.
        num_classes: Number of logits, by which the readout is known where there is no `apply`.

    Returns:
        A pytree of the structure of `params` with `TensorRole` leaves. The weight of a linear
        classifier is a first one.

    Raises:
        ValueError: A role is not decided, the params are no float tensors alone, or `image_shape`
            is none or `apply` fails on it.
    """
    check_image_shape(image_shape)
    tensors = tensors_of(params)
    structure = jax.tree.structure(params)
    if apply is not None:
        return structure.unflatten(traced_roles(tensors, trace(apply, params, image_shape)))
    if convention is None or isinstance(convention, str):
        axes = named_axes(tensors, image_shape, convention)
    else:
        axes = given_axes(tensors, params, convention)
    return structure.unflatten(named_roles(tensors, axes, image_shape, num_classes))


def roles(layout: Layout) -> list[Any]:
    """The roles of `layout`, and what else it holds, in the order of the leaves of the params."""
    return jax.tree.leaves(layout, is_leaf=is_role)


def fit_layout(layout: Layout, params: PyTree) -> list[TensorRole]:
    """The roles of the tensors of `params`, in the order of their leaves.

    The containers may be others than those of the layout, if the names in them are the same (a
    `FrozenDict` and a dict, an nnx `State` and its pure dict). A tensor that was masked out, as by
    `optax.masked` and `optax.partition`, needs no role.

    Raises:
        ValueError: A tensor has no role, a role no tensor or one of another shape, or the layout
            holds anything but roles.
    """
    known = _by_name(layout, is_role)
    for path, role in known.items():
        if not is_role(role):
            raise ValueError(
                f"layout must hold a TensorRole for each tensor, got {short(role)} at"
                f" {short('/'.join(path))}."
            )
    wanted = _by_name(params, None)
    masked = [path for path, node in _by_name(params, _is_empty).items() if _is_empty(node)]
    for path in wanted:
        if path not in known:
            hint = "; leave out optax.flatten" if not path else ""
            raise ValueError(
                f"layout must have the structure of the params, but has no role for"
                f" {short('/'.join(path))}{hint}."
            )
    for path in known if wanted else ():
        if path not in wanted and not any(path[: len(start)] == start for start in masked):
            raise ValueError(
                f"layout must have the structure of the params, but they have no tensor"
                f" {short('/'.join(path))}."
            )
    for path, tensor in wanted.items():
        check_axes(known[path], tuple(tensor.shape), short("/".join(path)))
    return [known[path] for path in wanted]


def check_axes(role: TensorRole, shape: tuple[int, ...], name: str) -> None:
    """Raises ValueError where a role speaks of other axes, points or channels than a tensor has."""
    unfolded, used = role.unfolded or shape, (*role.inputs, *role.outputs)
    if role.unfolded and (min(unfolded) < 1 or math.prod(unfolded) != math.prod(shape)):
        raise ValueError(f"The role of {name} unfolds shape {shape} to {unfolded}, which differs.")
    if len(set(used)) < len(used) or not set(used) <= set(range(len(unfolded))):
        raise ValueError(
            f"The role of {name} must name axes of {unfolded}, each once, got inputs {role.inputs}"
            f" and outputs {role.outputs}."
        )
    spatial = role.spatial_shape
    inputs = [unfolded[axis] for axis in role.inputs] if used else unfolded[:-1]
    if spatial and (len(spatial) != 3 or math.prod(spatial) != math.prod(inputs)):
        raise ValueError(
            f"The role of {name} must have a spatial_shape of (height, width, channels) with"
            f" {math.prod(inputs)} entries, got {short(spatial)}."
        )


def _by_name(tree: Any, is_leaf: Callable[[Any], bool] | None) -> dict[tuple[str, ...], Any]:
    """The leaves of a tree by the names on their way."""
    return {names(keys)[0]: leaf for keys, leaf in jax.tree.leaves_with_path(tree, is_leaf=is_leaf)}


def _is_empty(node: Any) -> bool:
    """Whether a node of a tree holds nothing, as what optax puts in a masked tensor's place."""
    return node is not None and not jax.tree.leaves(node)


def is_role(node: Any) -> bool:
    """Whether a node of a tree is a tensor's role."""
    return isinstance(node, TensorRole)
