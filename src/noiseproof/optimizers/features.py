"""What a learned rule sees: rows of features × parameters, and the statistics of a tensor.

All tensors of a classifier lie behind each other along the last axis, so that one small network
acts on all weights in one matrix product; what belongs to a tensor is a static slice of it.

Source: the inputs are those of google/learned_optimization (Metz et al., arXiv 1810.10180,
2203.11860), whose accumulators are not bias-corrected.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from noiseproof.types import Params

TIME_SCALES = (1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5)
"""Steps; the scales of `time_embedding`."""


def check_params(params: Params | None) -> None:
    """Raises ValueError where an update was asked for without the params it is for."""
    if params is None:
        raise ValueError("A learned optimizer needs params: call update(grads, state, params).")


def tensor_sizes(tree: Params) -> tuple[int, ...]:
    """Number of parameters of each tensor, in leaf order."""
    return tuple(leaf.size for leaf in jax.tree.leaves(tree))


def tensor_ranks(tree: Params) -> Float[Array, "1 tensors"]:
    """Number of axes of each tensor, as a feature per tensor."""
    return jnp.array([[float(leaf.ndim) for leaf in jax.tree.leaves(tree)]])


def slices(
    rows: Float[Array, "features parameters"], sizes: Sequence[int]
) -> list[Float[Array, "features _"]]:
    """The part of each tensor."""
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    return [rows[:, end - size : end] for end, size in zip(ends, sizes, strict=True)]


def tensor_mean(
    rows: Float[Array, "features parameters"], sizes: Sequence[int]
) -> Float[Array, "features tensors"]:
    """The mean of each feature over each tensor."""
    return jnp.stack([part.mean(axis=1) for part in slices(rows, sizes)], axis=1)


def spread(
    values: Float[Array, "features tensors"], sizes: Sequence[int]
) -> Float[Array, "features parameters"]:
    """The value of each tensor at each of its parameters."""
    parts = [
        jnp.broadcast_to(values[:, index : index + 1], (values.shape[0], size))
        for index, size in enumerate(sizes)
    ]
    return jnp.concatenate(parts, axis=1)


def rms_normalize(
    rows: Float[Array, "features parameters"], sizes: Sequence[int]
) -> Float[Array, "features parameters"]:
    """Each feature over its root mean square within the tensor: x (1e-5 + mean x²)^-1/2."""
    return rows * spread(jax.lax.rsqrt(1e-5 + tensor_mean(rows**2, sizes)), sizes)


def accumulate(
    average: Shaped[Array, "..."], value: Shaped[Array, "..."], decay: Shaped[Array, "..."] | float
) -> Shaped[Array, "..."]:
    """One step of an exponential moving average from zero, without bias correction."""
    return decay * average + (1.0 - decay) * value


def time_embedding(step: Int[Array, ""]) -> Float[Array, " scales"]:
    """tanh(step / scale - 1) over `TIME_SCALES`, for the 0-based index of the step to come."""
    return jnp.tanh(step / jnp.array(TIME_SCALES) - 1.0)
