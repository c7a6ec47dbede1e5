"""Optimizers on params that are split over devices by explicit sharding.

A rule of matrices multiplies whole tensors, which explicit sharding asks to be said: tensors are
gathered before a step, and what comes out is split as the params are. State is whole everywhere.
"""

from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import PyTree


def whole(tree: PyTree) -> PyTree:
    """A tree whose arrays are whole on each device."""

    def gather(leaf: Any) -> Any:
        sharding = explicit_sharding(leaf)
        if sharding is None:
            return leaf
        return jax.sharding.reshard(leaf, NamedSharding(sharding.mesh, PartitionSpec()))

    return jax.tree.map(gather, tree)


def split_as(leaf: Any, other: Any) -> Any:
    """An array that is split over devices as another is."""
    sharding = explicit_sharding(other)
    return leaf if sharding is None else jax.sharding.reshard(leaf, sharding)


def explicit_sharding(leaf: Any) -> NamedSharding | None:
    """How the type of an array says that it is split over devices, if it does."""
    if isinstance(leaf, jax.ShapeDtypeStruct) or not hasattr(leaf, "dtype"):
        return None
    sharding = jax.typeof(leaf).sharding
    return sharding if any(axis is not None for axis in sharding.spec) else None
