"""Weights reparametrized by random scales: an augmentation of tasks against fitting their units.

Every run draws scales, log-uniform, and the optimizer trains the weights divided by them. The
classifier and its loss are the same functions as before, but gradients are multiplied and weights
divided by the scales: a step of gradient descent of size r is one of size r·scale², a step of a
normalized rule one of r·scale. A rule that does well under all of them knows no natural unit.

Source: the augmentation of Metz, Harrison, Freeman, et al.: VeLO, arXiv 2211.09760; with scales
from 1e-3 to 1e3 in Moudgil, Knyazev, Belilovsky: Celo2, arXiv 2602.19142.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, Scalar

from noiseproof.messages import short
from noiseproof.metatrain.objective import Objective
from noiseproof.types import Data, Layout, LearnedOptimizer, Optimizer, Params, Task, Theta


class Reparametrized(NamedTuple):
    """A classifier's params as a product.

    Attributes:
        weights: What the optimizer sees and trains.
        scales: What they are multiplied by, tensor by tensor; fixed for the run.
    """

    weights: Params
    scales: Params


Draw: TypeAlias = Callable[[tuple[int, ...], int], Float[Array, "..."]]
"""`(shape, index) -> scales`, independent for every index."""

LEVELS: dict[str, Callable[[list[Array], Draw], list[Array]]] = {
    "global": lambda leaves, draw: [draw((), 0)] * len(leaves),
    "tensor": lambda leaves, draw: [draw((), index) for index in range(len(leaves))],
    "weight": lambda leaves, draw: [draw(leaf.shape, index) for index, leaf in enumerate(leaves)],
}
"""What has a scale of its own: `(leaves of the params, draw) -> scales`."""

SCALES_DRAW = 2**31 - 1
"""What the scales are folded from the key of the initial weights with."""


def reparametrized(
    objective: Objective, *, level: str = "tensor", low: float = 1e-3, high: float = 1e3
) -> Objective:
    """The objective with the classifier's weights divided by random scales of every run.

    Its params are `Reparametrized`; its layout is as before, that of the weights.

    Args:
        objective: What is augmented.
        level: What has a scale of its own: `"global"`, `"tensor"` or `"weight"`.
        low: The smallest scale.
        high: The largest scale.

    Raises:
        ValueError: An unknown level, scales that are not positive or in the wrong order, or a rule
            that judges other weights than it trains.
    """
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {short(level)}.")
    if objective.learned.answer is not LearnedOptimizer._field_defaults["answer"]:
        raise ValueError(
            "Weights can be scaled for rules that judge the weights they train, which one that"
            " augments does not: leave level at none, or augments at false."
        )
    if not 0.0 < low <= high < float("inf"):
        raise ValueError(f"Scales must be positive, low at most high, got {low} to {high}.")

    def draw_scales(params: Params, key: PRNGKeyArray) -> Params:
        leaves, structure = jax.tree.flatten(params)

        def draw(shape: tuple[int, ...], index: int) -> Float[Array, "..."]:
            limits = jnp.log(jnp.array([low, high]))
            uniform = jax.random.uniform(jax.random.fold_in(key, index), shape)
            return jnp.exp(limits[0] + (limits[1] - limits[0]) * uniform)

        return structure.unflatten(LEVELS[level](leaves, draw))

    task = scaled_task(objective.task, draw_scales)
    return objective._replace(task=task, learned=weights_only(objective.learned))


def scaled_task(task: Task, draw_scales: Callable[[Params, PRNGKeyArray], Params]) -> Task:
    """A task whose params are `Reparametrized`, from the same initial weights."""

    def init(key: PRNGKeyArray) -> Reparametrized:
        params = task.init(key)
        scales = draw_scales(params, jax.random.fold_in(key, SCALES_DRAW))
        return Reparametrized(jax.tree.map(jnp.divide, params, scales), scales)

    def loss(params: Reparametrized, data: Data, key: PRNGKeyArray) -> Scalar:
        return task.loss(jax.tree.map(jnp.multiply, *params), data, key)

    def meta_loss(params: Reparametrized, data: Data, key: PRNGKeyArray) -> Scalar:
        return task.meta_loss(jax.tree.map(jnp.multiply, *params), data, key)

    return Task(init, loss, meta_loss, task.refresh)


def weights_only(learned: LearnedOptimizer) -> LearnedOptimizer:
    """The same rule on `Reparametrized` params: it sees the weights, and the scales stay."""

    def optimizer(theta: Theta, num_steps: int | Int[Array, ""], layout: Layout) -> Optimizer:
        plain = learned.optimizer(theta, num_steps, layout)

        def start(params: Params) -> Any:
            return plain.init(params.weights)

        def update(
            updates: Params, state: Any, params: Params | None = None
        ) -> tuple[Reparametrized, Any]:
            seen = None if params is None else params.weights
            changes, state = plain.update(updates.weights, state, seen)
            return Reparametrized(changes, optax.tree.zeros_like(updates.scales)), state

        return optax.GradientTransformation(start, update)

    return LearnedOptimizer(learned.init, optimizer)
