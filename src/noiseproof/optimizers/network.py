"""The small network of a learned rule, which acts on every parameter alike.

A tensor's features are a list of arrays. Of a large tensor a small layer is a sum of them: the
compiler makes one pass over the parameters of all features and layers. That was 2.4 to 6 times
faster on two cores than matrix products of a features × parameters matrix, which has to be stored
(16 units, 11 features, 32 vectorized optimizers, classifiers of 2,410 to 25,450 weights). Of a
small tensor such a matrix costs nothing, and compiles in less time and memory.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from noiseproof.messages import short
from noiseproof.optimizers.features import time_embedding
from noiseproof.types import Theta

STEP_SCALE = 1e-3
EXPONENT_SCALE = 1e-3
"""Without factors as small as these inner training is chaotic (Metz et al., arXiv 2009.11243)."""

LEAST_FUSED = 512
"""Parameters of a tensor for which the network is written out as sums."""

MOST_FUSED = 200
"""Weights of a layer that is written out as sums; larger ones compile too long."""

Layers: TypeAlias = list[tuple[Float[Array, "_ _"], Float[Array, " _"]]]
"""Weights and biases of the layers after the first."""

SquareSums: TypeAlias = Callable[[Any], Float[Array, " features"]]
"""`inputs -> sum of the squares of each feature`, where a rule knows a shorter way to it."""


def check_hidden_sizes(hidden_sizes: Sequence[int]) -> None:
    """Raises ValueError where there is no hidden layer, or an empty one."""
    if not hidden_sizes or min(hidden_sizes) < 1:
        raise ValueError(
            f"hidden_sizes must be one or more positive counts of units, got {short(hidden_sizes)}."
        )


def init_network(
    layer_sizes: Sequence[int], key: PRNGKeyArray, *, readout_scale: float = 1.0
) -> Theta:
    """Weights truncated normal with standard deviation 1/√fan_in, biases zero.

    Args:
        layer_sizes: Number of inputs, of hidden units of each layer, of outputs.
        key: Fixes the draw.
        readout_scale: Factor on the last layer's weights.
    """
    theta = {}
    last = len(layer_sizes) - 2
    for index, (fan_in, fan_out) in enumerate(pairwise(layer_sizes)):
        scale = (readout_scale if index == last else 1.0) / fan_in**0.5
        draw = jax.random.truncated_normal(
            jax.random.fold_in(key, index), -2.0, 2.0, (fan_out, fan_in)
        )
        theta[f"weight_{index}"] = scale * draw
        theta[f"bias_{index}"] = jnp.zeros(fan_out)
    return theta


def apply_network(
    theta: Theta,
    features: Callable[[Any], list[Array]],
    inputs: Any,
    shared: Float[Array, " shared"],
    square_sums: SquareSums | None = None,
) -> list[Array]:
    """The outputs for every parameter of one tensor, relu between layers, linear at the end.

    Each feature is divided by its root mean square over the tensor, (1e-5 + mean x²)^1/2, by way
    of the first layer's weights. What all parameters share is part of the bias.

    Args:
        theta: From `init_network`; its inputs are the features, then the shared values.
        features: `inputs -> features`, arrays that broadcast to the tensor's shape.
        inputs: A pytree of arrays.
        shared: What all parameters of the tensor share, not normalized.
        square_sums: `inputs -> sum of the squares of each feature`, of a large tensor; None sums
            them one by one, a pass over the tensor for each.

    Returns:
        The outputs, of the tensor's shape each.
    """
    blocks = features(inputs)
    shape = jnp.broadcast_shapes(*(block.shape[1:] for block in blocks))
    num_features = sum(len(block) for block in blocks)
    per_feature, per_shared = jnp.split(theta["weight_0"], [num_features], axis=1)
    bias = theta["bias_0"] + per_shared @ shared
    rest = [(theta[f"weight_{i}"], theta[f"bias_{i}"]) for i in range(1, len(theta) // 2)]
    if math.prod(shape) < LEAST_FUSED or max(weight.size for weight in theta.values()) > MOST_FUSED:
        return stacked(per_feature, bias, rest, blocks, shape)
    return fused(per_feature, bias, rest, features, inputs, square_sums)


def stacked(
    per_feature: Float[Array, "units features"],
    bias: Float[Array, " units"],
    rest: Layers,
    blocks: list[Array],
    shape: tuple[int, ...],
) -> list[Array]:
    """The network as products of matrices, features × parameters."""
    whole = [jnp.broadcast_to(block, (len(block), *shape)) for block in blocks]
    units = jnp.concatenate([block.reshape(len(block), -1) for block in whole])
    units = (per_feature * inverse_root(jnp.mean(units**2, axis=1))) @ units + bias[:, None]
    for weight, bias in rest:
        units = weight @ jax.nn.relu(units) + bias[:, None]
    return list(units.reshape(-1, *shape))


def fused(
    per_feature: Float[Array, "units features"],
    bias: Float[Array, " units"],
    rest: Layers,
    features: Callable[[Any], list[Array]],
    inputs: Any,
    square_sums: SquareSums | None,
) -> list[Array]:
    """The network as sums, which the compiler makes one pass over the parameters of.

    A feature of a row or of a column alone stays so until it is added to the others.
    """
    blocks = features(inputs)
    # Summed apart but divided together: every division would be a kernel of its own.
    sums = sums_of_squares(blocks) if square_sums is None else square_sums(inputs)
    sizes = [part.size for block in blocks for part in block]
    scales = inverse_root(sums / np.array(sizes, np.float32))
    # To compute the features again costs less than to store them all. Without the barrier the
    # compiler finds both calls equal and stores them.
    scales, inputs = jax.lax.optimization_barrier((scales, inputs))
    units = layer(
        per_feature * scales, bias, [part for block in features(inputs) for part in block]
    )
    for weight, bias in rest:
        units = layer(weight, bias, [jax.nn.relu(unit) for unit in units])
    return units


def one_by_one(parts: Iterable[Array]) -> list[Array]:
    """Features as blocks of one each."""
    return [part[None] for part in parts]


def sums_of_squares(blocks: list[Array]) -> Float[Array, " features"]:
    """The sum of the squares of each feature of all blocks."""
    return jnp.concatenate([jnp.sum(block**2, axis=range(1, block.ndim)) for block in blocks])


def inverse_root(mean_square: Float[Array, " features"]) -> Float[Array, " features"]:
    """What each feature is multiplied by."""
    return jax.lax.rsqrt(1e-5 + mean_square)


def layer(
    weight: Float[Array, "outputs inputs"], bias: Float[Array, " outputs"], inputs: list[Array]
) -> list[Array]:
    """One linear layer, the inputs of one shape added first."""
    return [weighted_sum(row, inputs) + start for row, start in zip(weight, bias, strict=True)]


def weighted_sum(weights: Float[Array, " inputs"], inputs: list[Array]) -> Array:
    """The sum over all inputs, those of one shape first."""
    sums: dict[tuple[int, ...], Array] = {}
    for weight, part in zip(weights, inputs, strict=True):
        term = weight * part
        sums[part.shape] = sums[part.shape] + term if part.shape in sums else term
    first, *others = sums.values()
    return sum(others, start=first)


def timed_step(
    theta: Theta,
    features: Callable[[Any], list[Array]],
    inputs: Any,
    step: Int[Array, ""],
    square_sums: SquareSums | None = None,
) -> Array:
    """What a network that also sees the time adds to each parameter of a tensor.

    Args:
        theta: From `init_network`, with two outputs: a direction and a log-magnitude.
        features: `inputs -> features`, as in `apply_network`.
        inputs: A pytree of arrays.
        step: 0-based index of the step to come.
        square_sums: As in `apply_network`.
    """
    time = time_embedding(step)
    direction, magnitude = apply_network(theta, features, inputs, time, square_sums)
    return -STEP_SCALE * direction * jnp.exp(EXPONENT_SCALE * magnitude)
