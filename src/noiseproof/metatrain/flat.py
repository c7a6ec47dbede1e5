"""Theta as one vector while it is meta-trained.

A theta of many small tensors is many small programs: each is perturbed, averaged and updated by
kernels of its own, which cost more to compile than to run. Of one vector there is one of each.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray

from noiseproof.metatrain.objective import Objective
from noiseproof.types import Layout, LearnedOptimizer, Optimizer, Theta


def flattened(objective: Objective) -> tuple[Objective, Callable[[Float[Array, " theta"]], Theta]]:
    """The objective of a theta that is one vector, and what makes a theta of it again."""
    learned = objective.learned
    shapes = jax.eval_shape(learned.init, jax.random.key(0))
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    _, unflatten = ravel_pytree(empty)

    def init(key: PRNGKeyArray) -> Float[Array, " theta"]:
        return ravel_pytree(learned.init(key))[0]

    def optimizer(
        row: Float[Array, " theta"], num_steps: int | Int[Array, ""], layout: Layout
    ) -> Optimizer:
        return learned.optimizer(unflatten(row), num_steps, layout)

    return objective._replace(learned=LearnedOptimizer(init, optimizer)), unflatten
