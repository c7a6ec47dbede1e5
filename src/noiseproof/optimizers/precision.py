"""Optimizers in float32, whatever the precision of the classifier, as optax's own are used.

Averages over thousands of gradients need more digits than bfloat16 and float16 have: state and
arithmetic are in float32, an update in the type of its parameter.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from noiseproof.layouts.tensors import check_float, names
from noiseproof.messages import short
from noiseproof.optimizers.features import check_params
from noiseproof.optimizers.whole import split_as, whole
from noiseproof.types import Optimizer, Params


def in_float32(optimizer: Optimizer) -> optax.GradientTransformationExtraArgs:
    """An optimizer whose state is in float32, and which ignores what it does not know of `update`.

    Raises:
        ValueError: On `init` and `update`, where params or gradients hold anything but floats or
            differ in structure; on `update` without params.
    """

    def start(params: PyTree) -> Any:
        return optimizer.init(whole(in_full(params)))

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None, **_extra_args: Any
    ) -> tuple[Params, Any]:
        check_params(params)
        check_same_names(updates, params)
        changes, state = optimizer.update(whole(in_full(updates)), state, whole(in_full(params)))
        narrow = jax.tree.map(lambda new, old: new.astype(old.dtype), changes, params)
        return jax.tree.map(split_as, narrow, params), state

    return optax.GradientTransformationExtraArgs(start, update)


def in_full(tree: PyTree) -> Params:
    """A tree whose arrays, or their shapes, are of float32.

    Raises:
        ValueError: A leaf is no array of floats.
    """

    def full(way: tuple[Any, ...], leaf: Any) -> Any:
        check_float(leaf, names(way)[0])
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf.update(dtype=jnp.float32)
        return jnp.asarray(leaf, jnp.float32)

    return jax.tree.map_with_path(full, tree)


def check_same_names(updates: PyTree, params: PyTree) -> None:
    """Raise ValueError, naming the first place, unless gradients are of the params' structure."""
    if jax.tree.structure(updates) == jax.tree.structure(params):
        return
    trees = updates, params
    found, wanted = ({names(k)[0] for k, _ in jax.tree.leaves_with_path(t)} for t in trees)
    place = short("/".join(min(found ^ wanted, default=())))
    raise ValueError(
        f"The gradients must have the structure of the params, but they differ at {place}; of a"
        " whole module give the weights alone, as by eqx.filter(model, eqx.is_inexact_array)."
    )
