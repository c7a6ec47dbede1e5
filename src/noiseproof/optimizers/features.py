"""What learned rules share about their inputs: averages of the gradient, and the time.

Source: the inputs are those of google/learned_optimization (Metz et al., arXiv 1810.10180,
2203.11860), whose accumulators are not bias-corrected.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree, Shaped

from noiseproof.types import Params

TIME_SCALES = (1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5)
"""Steps; the scales of `time_embedding`."""


def check_params(params: PyTree | None) -> None:
    """Raises ValueError where an update was asked for without the params it is for."""
    if params is None:
        raise ValueError("A learned optimizer needs params: call update(grads, state, params).")


def accumulate(
    average: Shaped[Array, "..."], value: Shaped[Array, "..."], decay: Shaped[Array, "..."] | float
) -> Shaped[Array, "..."]:
    """One step of an exponential moving average from zero, without bias correction."""
    return decay * average + (1.0 - decay) * value


def accumulate_tree(average: Params, value: Params, decay: Shaped[Array, "..."] | float) -> Params:
    """`accumulate` for every tensor of a classifier."""
    return jax.tree.map(lambda mean, new: accumulate(mean, new, decay), average, value)


def time_embedding(step: Int[Array, ""]) -> Float[Array, " scales"]:
    """tanh(step / scale - 1) over `TIME_SCALES`, for the 0-based index of the step to come."""
    return jnp.tanh(step / jnp.array(TIME_SCALES) - 1.0)
