"""The small network of a learned rule, which acts on every parameter alike.

It works on features × parameters, so that its layers are plain matrix products of a small
matrix with a long one. What is the same for a whole tensor or for all parameters enters the
first layer as a bias and is never tiled.
"""

from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from noiseproof.optimizers.features import rms_normalize, spread, time_embedding
from noiseproof.types import Theta

STEP_SCALE = 1e-3
EXPONENT_SCALE = 1e-3
"""Without factors as small as these inner training is chaotic (Metz et al., arXiv 2009.11243)."""


def check_hidden_sizes(hidden_sizes: Sequence[int]) -> None:
    """Raises ValueError where there is no hidden layer, or an empty one."""
    if not hidden_sizes or min(hidden_sizes) < 1:
        raise ValueError(
            f"hidden_sizes must be one or more positive counts of units, got {hidden_sizes}."
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
    rows: Float[Array, "features parameters"],
    tensor_values: Float[Array, "tensor_features tensors"],
    shared_values: Float[Array, " shared_features"],
    sizes: Sequence[int],
) -> Float[Array, "outputs parameters"]:
    """The outputs for every parameter, relu between layers, linear at the end.

    Args:
        theta: From `init_network`; its inputs are the three kinds below, in their order.
        rows: Features per parameter.
        tensor_values: Features that a tensor's parameters share.
        shared_values: Features that all parameters share.
        sizes: Number of parameters of each tensor.
    """
    ends = (rows.shape[0], rows.shape[0] + tensor_values.shape[0])
    per_row, per_tensor, shared = jnp.split(theta["weight_0"], ends, axis=1)
    bias = theta["bias_0"] + shared @ shared_values
    hidden = per_row @ rows + spread(per_tensor @ tensor_values + bias[:, None], sizes)
    for index in range(1, len(theta) // 2):
        hidden = jax.nn.relu(hidden)
        hidden = theta[f"weight_{index}"] @ hidden + theta[f"bias_{index}"][:, None]
    return hidden


def timed_step(
    theta: Theta,
    rows: Float[Array, "features parameters"],
    step: Int[Array, ""],
    sizes: Sequence[int],
) -> Float[Array, " parameters"]:
    """What a network that also sees the time adds to each parameter.

    Args:
        theta: From `init_network`, with two outputs: a direction and a log-magnitude.
        rows: Features per parameter, not yet normalized.
        step: 0-based index of the step to come.
        sizes: Number of parameters of each tensor.
    """
    no_tensor_values = jnp.zeros((0, len(sizes)))
    direction, magnitude = apply_network(
        theta, rms_normalize(rows, sizes), no_tensor_values, time_embedding(step), sizes
    )
    return -STEP_SCALE * direction * jnp.exp(EXPONENT_SCALE * magnitude)
