"""`mlp`: a network per parameter that sees gradient, parameter, six momenta and the time.

The plainest learned rule, of the lineage of the paper that this package follows: all that it does
is in the weights of one network of two hidden layers; nothing of a hand-designed optimizer
stands beside it.

Source: Metz, Maheswaranathan, Nixon, Freeman, Sohl-Dickstein: Understanding and correcting
pathologies in the training of learned optimizers, arXiv 1810.10180; inputs and scales of its
19-input form as in google/learned_optimization.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PRNGKeyArray

from noiseproof.optimizers.features import TIME_SCALES, accumulate_tree, check_params
from noiseproof.optimizers.network import check_hidden_sizes, init_network, one_by_one, timed_step
from noiseproof.types import Layout, LearnedOptimizer, Optimizer, Params, Theta

MOMENTUM_DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
NUM_INPUTS = 2 + len(MOMENTUM_DECAYS) + len(TIME_SCALES)


class MlpState(NamedTuple):
    """Attributes: `step`, steps taken; `momenta`, averages without bias correction, by decay."""

    step: Int[Array, ""]
    momenta: tuple[Params, ...]


def mlp(*, hidden_sizes: tuple[int, ...] = (32, 32)) -> LearnedOptimizer:
    """A step is 0.001 · direction · exp(0.001 · magnitude), both from the network.

    Args:
        hidden_sizes: Units of the network's hidden layers.

    Raises:
        ValueError: No hidden layer, or an empty one.
    """
    check_hidden_sizes(hidden_sizes)

    def init(key: PRNGKeyArray) -> Theta:
        return {"network": init_network((NUM_INPUTS, *hidden_sizes, 2), key)}

    def optimizer(theta: Theta, _num_steps: int | Int[Array, ""], _layout: Layout) -> Optimizer:
        # The network sees the step, not its share of the run, so the run's length is not used.
        def start(params: Params) -> MlpState:
            zeros = optax.tree.zeros_like(params)
            return MlpState(jnp.zeros((), jnp.int32), (zeros,) * len(MOMENTUM_DECAYS))

        def update(
            updates: Params, state: Any, params: Params | None = None
        ) -> tuple[Params, MlpState]:
            check_params(params)
            momenta = tuple(
                accumulate_tree(average, updates, decay)
                for average, decay in zip(state.momenta, MOMENTUM_DECAYS, strict=True)
            )

            def change(*inputs: Array) -> Array:
                return timed_step(theta["network"], one_by_one, inputs, state.step)

            changes = jax.tree.map(change, updates, params, *momenta)
            return changes, MlpState(state.step + 1, momenta)

        return optax.GradientTransformation(start, update)

    return LearnedOptimizer(init, optimizer)
