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
from jaxtyping import Array, Int, PRNGKeyArray

from noiseproof.optimizers.features import accumulate_tree, check_params
from noiseproof.optimizers.network import (
    apply_network,
    check_hidden_sizes,
    init_network,
    one_by_one,
)
from noiseproof.optimizers.schedules import SCHEDULES, check_schedule
from noiseproof.types import Layout, LearnedOptimizer, Optimizer, Params, Theta

MOMENTUM_DECAYS = (0.5, 0.9, 0.99, 0.999)
SECOND_MOMENT_DECAY = 0.999
NUM_FEATURES = 3 + 2 * len(MOMENTUM_DECAYS)  # parameter, gradient, 1/√v, and m, m/√v for each decay
LOG_SCALE = 10.0
"""One unit of a learned logarithm is e^10: perturbations of theta by 0.02 move a step or a decay
by a fifth, and the networks' weights, of order 1, by little."""


class NominalState(NamedTuple):
    """Averages without bias correction.

    Attributes:
        step: Steps taken.
        momenta: Of the gradient, by decay.
        second_moment: Of its square.
    """

    step: Int[Array, ""]
    momenta: tuple[Params, ...]
    second_moment: Params


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
        layer_sizes = (NUM_FEATURES + 2, *hidden_sizes, 2)
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
            zeros = optax.tree.zeros_like(params)
            return NominalState(jnp.zeros((), jnp.int32), (zeros,) * len(MOMENTUM_DECAYS), zeros)

        def update(
            updates: Params, state: Any, params: Params | None = None
        ) -> tuple[Params, NominalState]:
            check_params(params)
            fraction = jnp.minimum(state.step / num_steps, 1.0)
            scale = -step_size * schedule_at(theta, fraction)
            state = accumulate_state(state, updates)

            def change(param: Array, *averages: Array) -> Array:
                shared = jnp.stack([jnp.float32(param.ndim), fraction])
                inputs = (param, *averages)
                direction, magnitude = apply_network(theta["network"], features, inputs, shared)
                learned = direction * jnp.exp(magnitude)
                step = adam_direction(averages[1:], state.step) + learned + decay * param
                return (scale * step).astype(param.dtype)

            averages = (updates, *state.momenta, state.second_moment)
            return jax.tree.map(change, params, *averages), state

        return optax.GradientTransformation(start, update)

    return LearnedOptimizer(init, optimizer)


def accumulate_state(state: NominalState, grads: Params) -> NominalState:
    """The averages after one more gradient."""
    momenta = tuple(
        accumulate_tree(average, grads, decay)
        for average, decay in zip(state.momenta, MOMENTUM_DECAYS, strict=True)
    )
    squares = jax.tree.map(jnp.square, grads)
    second_moment = accumulate_tree(state.second_moment, squares, SECOND_MOMENT_DECAY)
    return NominalState(state.step + 1, momenta, second_moment)


def features(inputs: tuple[Array, ...]) -> list[Array]:
    """Parameter, gradient, momenta, momenta over root second moment, inverse root of it.

    Args:
        inputs: A tensor of params, its gradient, its momenta, its second moment.
    """
    param, grad, *momenta, second_moment = inputs
    inverse_root = jax.lax.rsqrt(second_moment + 1e-6)
    scaled = [momentum * inverse_root for momentum in momenta]
    return one_by_one([param, grad, *momenta, *scaled, inverse_root])


def adam_direction(averages: tuple[Array, ...], step: Int[Array, ""]) -> Array:
    """Adam's step for a learning rate of one, from the momentum at .9 (arXiv 1412.6980).

    Args:
        averages: The momenta of a tensor, then its second moment.
        step: Gradients in the averages.
    """
    momentum = averages[MOMENTUM_DECAYS.index(0.9)] / (1.0 - 0.9**step)
    second_moment = averages[-1] / (1.0 - SECOND_MOMENT_DECAY**step)
    # A root has an infinite slope at zero, where a weight never had a gradient.
    return momentum / (jnp.sqrt(jnp.maximum(second_moment, 1e-30)) + 1e-8)
