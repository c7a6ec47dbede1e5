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
from noiseproof.types import Layout, Optimizer, Theta


def flattened(
    objective: Objective,
    start: Theta | None = None,
    directions: Float[Array, "theta groups"] | None = None,
) -> tuple[Objective, Callable[[Float[Array, " theta"]], Theta]]:
    """The objective of a theta that is one vector, and what makes a theta of it again.

    Args:
        objective: Of the rule's own theta.
        start: Where meta-training begins; where the rule does by default.
        directions: What the vector counts, as columns: theta is the start plus their sum, each
            times its number. By default the vector is theta itself.

    Raises:
        ValueError: The start is not of the rule, or the directions have another length.
    """
    learned = objective.learned
    shapes = jax.eval_shape(learned.init, jax.random.key(0))
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    origin, unflatten = ravel_pytree(empty)
    if start is not None:
        if jax.tree.map(jnp.shape, start) != jax.tree.map(jnp.shape, empty):
            raise ValueError("The start must be a theta of the rule that is meta-trained.")
        origin = ravel_pytree(start)[0]
    if directions is not None and directions.shape[0] != origin.size:
        raise ValueError(f"directions must have {origin.size} rows, got {directions.shape[0]}.")

    def theta_of(row: Float[Array, " theta"]) -> Theta:
        return unflatten(row if directions is None else origin + directions @ row)

    def init(key: PRNGKeyArray) -> Float[Array, " theta"]:
        if directions is not None:
            return jnp.zeros(directions.shape[1])
        return ravel_pytree(learned.init(key) if start is None else start)[0]

    def optimizer(
        row: Float[Array, " theta"], num_steps: int | Int[Array, ""], layout: Layout
    ) -> Optimizer:
        return learned.optimizer(theta_of(row), num_steps, layout)

    return objective._replace(learned=learned._replace(init=init, optimizer=optimizer)), theta_of
