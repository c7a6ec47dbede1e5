"""`nominal_mlp`: Adam's direction, plus a per-parameter network's, plus a learned decay.

A nominal term that trains by itself and a weight decay inside the optimizer keep a learned rule
stable from its first meta-training step (Harrison, Metz, Sohl-Dickstein: A closer look at learned
optimization: stability, robustness, and inductive biases, arXiv 2209.11208). The network then
learns what to add to Adam, and the size of the decay is one of the things that are learned.

With f the fraction of the run gone by, a step is

    -step · schedule(f) · (adam + direction · exp(magnitude) + decay · params).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray

from noiseproof.optimizers.features import (
    accumulate,
    check_params,
    rms_normalize,
    tensor_ranks,
    tensor_sizes,
)
from noiseproof.optimizers.network import apply_network, check_hidden_sizes, init_network
from noiseproof.optimizers.schedules import SCHEDULES, check_schedule
from noiseproof.types import Layout, LearnedOptimizer, Optimizer, Params, Theta

MOMENTUM_DECAYS = (0.5, 0.9, 0.99, 0.999)
SECOND_MOMENT_DECAY = 0.999
NUM_ROWS = 3 + 2 * len(MOMENTUM_DECAYS)  # parameter, gradient, 1/√v, and m, m/√v for each decay
LOG_SCALE = 10.0
"""One unit of a learned logarithm is e^10: perturbations of theta by 0.02 move a step or a decay
by a fifth, and the networks' weights, of order 1, by little."""


class NominalState(NamedTuple):
    """Attributes: `step`, steps taken; `momenta`; `second_moment`; all uncorrected averages."""

    step: Int[Array, ""]
    momenta: Float[Array, "decays parameters"]
    second_moment: Float[Array, " parameters"]


def nominal_mlp(
    *,
    hidden_sizes: tuple[int, ...] = (16,),
    schedule: str = "cosine",
    initial_step: float = 3e-3,
    initial_decay: float = 1e-2,
) -> LearnedOptimizer:
    """Adam plus a learned per-parameter direction and a learned decoupled weight decay.

    Args:
        hidden_sizes: Units of the network's hidden layers.
        schedule: How a step shrinks over the run: `"cosine"` to zero, or `"learned"`.
        initial_step: Step size before meta-training.
        initial_decay: Weight decay before meta-training, relative to the step, as in AdamW.

    Raises:
        ValueError: An unknown schedule, or a size, step or decay that is not positive.
    """
    check_schedule(schedule)
    for name, value in (("initial_step", initial_step), ("initial_decay", initial_decay)):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}.")
    check_hidden_sizes(hidden_sizes)
    init_schedule, schedule_at = SCHEDULES[schedule]

    def init(key: PRNGKeyArray) -> Theta:
        layer_sizes = (NUM_ROWS + 2, *hidden_sizes, 2)
        return {
            "network": init_network(layer_sizes, key, readout_scale=0.1),
            "log_step": jnp.zeros(()),
            "log_decay": jnp.zeros(()),
            **init_schedule(),
        }

    def optimizer(theta: Theta, num_steps: int | Int[Array, ""], _layout: Layout) -> Optimizer:
        step_size = initial_step * jnp.exp(LOG_SCALE * theta["log_step"])
        decay = initial_decay * jnp.exp(LOG_SCALE * theta["log_decay"])

        def start(params: Params) -> NominalState:
            zeros = jnp.zeros(sum(tensor_sizes(params)))
            momenta = jnp.zeros((len(MOMENTUM_DECAYS), zeros.size))
            return NominalState(jnp.zeros((), jnp.int32), momenta, zeros)

        def update(
            updates: Params, state: Any, params: Params | None = None
        ) -> tuple[Params, NominalState]:
            check_params(params)
            row, unravel = ravel_pytree(params)
            grad = ravel_pytree(updates)[0]
            fraction = jnp.minimum(state.step / num_steps, 1.0)
            state = accumulate_state(state, grad)
            rows = feature_rows(row, grad, state)
            sizes = tensor_sizes(params)
            direction, magnitude = apply_network(
                theta["network"],
                rms_normalize(rows, sizes),
                tensor_ranks(params),
                fraction[None],
                sizes,
            )
            learned = direction * jnp.exp(magnitude)
            change = adam_direction(state) + learned + decay * row
            scale = -step_size * schedule_at(theta, fraction)
            return unravel(scale * change), state

        return optax.GradientTransformation(start, update)

    return LearnedOptimizer(init, optimizer)


def accumulate_state(state: NominalState, grad: Float[Array, " parameters"]) -> NominalState:
    """The averages after one more gradient."""
    decays = jnp.array(MOMENTUM_DECAYS)[:, None]
    return NominalState(
        state.step + 1,
        accumulate(state.momenta, grad, decays),
        accumulate(state.second_moment, grad**2, SECOND_MOMENT_DECAY),
    )


def feature_rows(
    row: Float[Array, " parameters"], grad: Float[Array, " parameters"], state: NominalState
) -> Float[Array, "features parameters"]:
    """Parameter, gradient, momenta, momenta over root second moment, inverse root of it."""
    inverse_root = jax.lax.rsqrt(state.second_moment + 1e-6)
    return jnp.concatenate(
        [
            jnp.stack([row, grad]),
            state.momenta,
            state.momenta * inverse_root,
            inverse_root[None],
        ]
    )


def adam_direction(state: NominalState) -> Float[Array, " parameters"]:
    """Adam's step for a learning rate of one, from the momentum at .9 (arXiv 1412.6980)."""
    index = MOMENTUM_DECAYS.index(0.9)
    momentum = state.momenta[index] / (1.0 - 0.9**state.step)
    second_moment = state.second_moment / (1.0 - SECOND_MOMENT_DECAY**state.step)
    return momentum / (jnp.sqrt(second_moment) + 1e-8)
