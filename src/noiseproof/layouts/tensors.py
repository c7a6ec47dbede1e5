"""The tensors of a classifier by the names on their way, whatever holds them."""

import re
from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from noiseproof.messages import short
from noiseproof.types import Params

STATISTICS = ("batch_stats", "cache", "intermediates")
"""Collections of Flax's variables that are no weights."""


class Tensor(NamedTuple):
    """A leaf of the params.

    Attributes:
        shape: Its shape.
        path: The names on its way; of `a/~/b` and `a.b` both names.
        in_sequence: For each of them, whether it is the place in a list or tuple.
        is_attribute: Whether it is in a module, not in dicts and lists alone.
        leaf: Its place in tree order.
    """

    shape: tuple[int, ...]
    path: tuple[str, ...]
    in_sequence: tuple[bool, ...]
    is_attribute: bool
    leaf: int


def own_words(tensor: Tensor) -> set[str]:
    """The words of a tensor's own name."""
    return words(tensor.path[-1]) if tensor.path and not tensor.in_sequence[-1] else set()


def title(tensor: Tensor) -> str:
    """A tensor in a message: all names on its way, and its shape."""
    return f"{short('/'.join(tensor.path) or '(no name)')} of shape {tensor.shape}"


def words(name: str) -> set[str]:
    """The words of a name: what lies between digits and signs, in small letters."""
    return set(re.split(r"[^a-z]+", name.lower())) - {""}


def check_image_shape(image_shape: Any) -> None:
    """Raise ValueError unless `image_shape` is (height, width, channels), all positive."""
    is_shape = isinstance(image_shape, Sequence) and len(image_shape) == 3
    if not is_shape or not all(
        isinstance(size, Integral) and int(size) > 0 for size in image_shape
    ):
        raise ValueError(
            "image_shape must be (height, width, channels), all positive, got"
            f" {short(image_shape)}."
        )


def check_weights(params: Any) -> None:
    """Raise ValueError where params hold no weight, and none that is masked out by optax."""
    leaves = jax.tree.leaves(params)
    is_nothing = not leaves and type(params) in (type(None), dict, list, tuple)
    if is_nothing or (leaves and not any(getattr(leaf, "size", 1) for leaf in leaves)):
        raise ValueError(
            "params must hold at least one weight, got none; give the weights that the"
            " classifier starts with."
        )


def tensors_of(params: Params) -> list[Tensor]:
    """All tensors of `params` in tree order.

    Raises:
        ValueError: There is none, or a leaf is no float tensor or belongs to what is not trained.
    """
    check_weights(params)
    tensors = []
    for index, (keys, leaf) in enumerate(jax.tree.leaves_with_path(params)):
        path, in_sequence = names(keys)
        if path and path[0] in STATISTICS:
            raise ValueError(
                f"params hold {path[0]}, which are no weights; give variables['params'] alone."
            )
        check_float(leaf, path)
        if 0 in leaf.shape:
            raise ValueError(
                f"{short('/'.join(path))} must hold at least one number, got shape {leaf.shape}."
            )
        is_attribute = any(isinstance(key, jax.tree_util.GetAttrKey) for key in keys[:-1]) or (
            bool(path) and keys[-1:] == (jax.tree_util.GetAttrKey(path[-1]),)
        )
        tensors.append(Tensor(tuple(leaf.shape), path, in_sequence, is_attribute, index))
    return tensors


def check_float(leaf: Any, path: tuple[str, ...]) -> None:
    """Raise ValueError unless a leaf is an array of floats, or the shape of one."""
    dtype = getattr(leaf, "dtype", None)
    if hasattr(leaf, "shape") and dtype is not None and jnp.issubdtype(dtype, jnp.floating):
        return
    raise ValueError(
        f"{short('/'.join(path) or 'params')} must be a tensor of floats, got"
        f" {short(str(dtype or type(leaf).__name__))}; give the weights alone, as by"
        " eqx.filter(model, eqx.is_inexact_array) or nnx.state(model, nnx.Param)."
    )


def names(keys: tuple[Any, ...]) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """The names of a tree path, the same for all containers that hold the same tensors; and which
    of them are places in a sequence.
    """
    parts: list[tuple[str, bool]] = []
    for key in keys:
        if isinstance(key, jax.tree_util.SequenceKey):
            parts.append((str(key.idx), True))
            continue
        name = jax.tree_util.keystr((key,), simple=True)
        parts += [(part, False) for part in re.split(r"[/.]", name) if part not in ("", "~")]
    # nnx keeps each tensor in a variable, whose `value` it is.
    if len(parts) > 1 and parts[-1] == ("value", False):
        parts.pop()
    return tuple(name for name, _ in parts), tuple(place for _, place in parts)
