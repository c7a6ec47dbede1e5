"""The small network of a learned rule, which acts on every parameter alike.

It works on features × parameters, so that its layers are plain matrix products of a small
matrix with a long one. What is the same for a whole tensor or for all parameters enters the
first layer as a bias and is never tiled.
"""

from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from noiseproof.optimizers.features import spread
from noiseproof.types import Theta


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
