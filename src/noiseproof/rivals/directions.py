"""Directions of a step before its learning rate: Adam's, momentum's, Muon's.

Muon's (Jordan et al., 2024) is the momentum with Nesterov's look ahead, orthogonalized as in the
learned rules, of the root mean square of Adam's steps (Liu et al., arXiv 2502.16982); vectors take
Adam's, with the same look ahead. It is that of `optax.contrib.muon`, to the order of sums.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Scalar

from noiseproof.kinds import MATRICES, nearest_kind
from noiseproof.layouts.layout import fit_layout
from noiseproof.optimizers.matrices import on_matrices
from noiseproof.optimizers.orthogonal import ROOT_MEAN_SQUARE, orthogonalized
from noiseproof.types import Layout, Optimizer, Params

SGD_RATIO = 30.0
"""About how much larger good learning rates of SGD with momentum .9 are than Adam's."""

MUON_MOMENTUM = 0.95
MUON_RATIO = 0.2 / ROOT_MEAN_SQUARE
"""To the root mean square of Adam's steps, .2."""


def muon_direction(layout: Layout) -> Optimizer:
    """Muon's direction for weights, Adam's with Nesterov's look ahead for all other tensors."""
    adam = optax.scale_by_adam(nesterov=True)

    def init(params: Params) -> tuple[Any, Params, Scalar]:
        return adam.init(params), optax.tree.zeros_like(params), jnp.zeros((), jnp.int32)

    def update(updates: Params, state: Any, params: Params | None = None) -> tuple[Params, Any]:
        vectors, adam_state = adam.update(updates, state[0], params)
        momentum = optax.tree.update_moment(updates, state[1], MUON_MOMENTUM, 1)
        step = state[2] + 1
        ahead = jax.tree.map(
            lambda mean, new: MUON_MOMENTUM * mean + (1.0 - MUON_MOMENTUM) * new,
            optax.tree.bias_correction(momentum, MUON_MOMENTUM, step + 1),
            optax.tree.bias_correction(updates, MUON_MOMENTUM, step),
        )
        leaves, structure = jax.tree.flatten(ahead)
        chosen = [
            MUON_RATIO * on_matrices(orthogonalized, role, matrix)
            if matrix.ndim > 1 and nearest_kind(role.kind) in MATRICES
            else vector
            for role, matrix, vector in zip(
                fit_layout(layout, updates), leaves, jax.tree.leaves(vectors), strict=True
            )
        ]
        return structure.unflatten(chosen), (adam_state, momentum, step)

    return optax.GradientTransformation(init, update)


def momentum_direction(momentum: float | Scalar) -> Optimizer:
    """The sum of gradients, on the scale of Adam's rates."""
    return optax.chain(optax.trace(momentum), optax.scale(SGD_RATIO))


def one_of(directions: Sequence[Optimizer], chosen: Sequence[Scalar | float]) -> Optimizer:
    """The first direction, or the last of the others whose switch is on; all keep their state."""

    def init(params: Params) -> tuple[Any, ...]:
        return tuple(direction.init(params) for direction in directions)

    def update(updates: Params, state: Any, params: Params | None = None) -> tuple[Params, Any]:
        pairs = [
            direction.update(updates, own, params)
            for direction, own in zip(directions, state, strict=True)
        ]
        found = pairs[0][0]
        for (other, _), switch in zip(pairs[1:], chosen, strict=True):
            found = jax.tree.map(
                lambda one, two, switch=switch: jnp.where(switch > 0.5, two, one), found, other
            )
        return found, tuple(own for _, own in pairs)

    return optax.GradientTransformation(init, update)
