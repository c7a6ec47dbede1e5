"""A rule whose first layer answers, while it is trained, to changed images.

A first layer is linear in the image, so that its weights can show the classifier an image of other
contrast or brightness, noisy, blurred or moved (see `weight_space`). Here theta says how far, by
part of the run. The params of the loop are the changed weights, as those of schedule-free training
(Defazio, Yang, Mehta, et al., arXiv 2405.15682) are where gradients are taken; the state keeps the
weights themselves, and `answer` gives them back. So the loop stays that of any optimizer.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, Scalar

from noiseproof.optimizers.features import check_params
from noiseproof.optimizers.schedules import LOG_SCALE, between
from noiseproof.optimizers.weight_space import Strengths, first_layer, weight_space_augmentation
from noiseproof.types import Layout, LearnedOptimizer, Optimizer, Params, Theta

INITIAL_STRENGTHS = Strengths(contrast=0.03, brightness=0.1, noise=0.1, blur=0.1, motion=0.04)
"""Before meta-training: about what a search found for `muon_weight_space` on the outer loss of
`spectral-fashion-mlp`. Of a change too small to be felt the meta-gradient says nothing."""

TABLE = "changes"
"""Theta's part that says how far: a row for each of `Strengths`, a column for each knot."""


class AugmentedState(NamedTuple):
    """What training under changes keeps.

    Attributes:
        rule: The state of the rule.
        kept: The weights of the first layer themselves; None in the place of all other tensors.
        step: Steps taken.
        seed: Of the changes.
    """

    rule: Any
    kept: Params
    step: Int[Array, ""]
    seed: Int[Array, ""]


def augmented(learned: LearnedOptimizer, *, num_knots: int) -> LearnedOptimizer:
    """The rule under changes of the first layer, whose strengths are part of theta.

    A classifier without one first layer whose filters are known is trained by the rule alone.

    Args:
        learned: The rule.
        num_knots: Points of the run between which the logarithm of a strength is linear.
    """

    def init(key: PRNGKeyArray) -> Theta:
        return {**learned.init(key), TABLE: jnp.zeros((len(Strengths._fields), num_knots))}

    def optimizer(theta: Theta, num_steps: int | Int[Array, ""], layout: Layout) -> Optimizer:
        rule = learned.optimizer(theta, num_steps, layout)

        def changed(params: Params, step: Int[Array, ""], seed: Int[Array, ""]) -> Params:
            strengths = strengths_at(theta[TABLE], jnp.minimum(step / num_steps, 1.0))
            # The first step is taken at the weights themselves, which the loop has drawn.
            strengths = jax.tree.map(lambda one: jnp.where(step > 0, one, 0.0), strengths)
            key = jax.random.fold_in(jax.random.key(seed), step)
            return weight_space_augmentation(strengths, layout)(params, lambda same: same, key)

        def start(params: Params) -> AugmentedState:
            leaves, structure = jax.tree.flatten(params)
            places = first_layer(layout, params)
            kept = [leaf if at in places else None for at, leaf in enumerate(leaves)]
            step = jnp.zeros((), jnp.int32)
            return AugmentedState(
                rule.init(params), structure.unflatten(kept), step, seed_of(params)
            )

        def update(
            updates: Params, state: Any, params: Params | None = None
        ) -> tuple[Params, AugmentedState]:
            check_params(params)
            weights = answer(params, state)
            # Changes are linear, and the gradient is that with respect to the weights themselves.
            _, back = jax.vjp(lambda own: changed(own, state.step, state.seed), weights)
            changes, rule_state = rule.update(back(updates)[0], state.rule, weights)
            weights, step = optax.apply_updates(weights, changes), state.step + 1
            kept = jax.tree.map(
                lambda old, new: None if old is None else new, state.kept, weights, is_leaf=is_none
            )
            shown = changed(weights, step, state.seed)
            return (
                jax.tree.map(jnp.subtract, shown, params),
                AugmentedState(rule_state, kept, step, state.seed),
            )

        return optax.GradientTransformation(start, update)

    return LearnedOptimizer(init, optimizer, answer)


def answer(params: Params, state: Any) -> Params:
    """The weights themselves, of params whose first layer is changed."""
    return jax.tree.map(
        lambda kept, shown: shown if kept is None else kept, state.kept, params, is_leaf=is_none
    )


def is_none(leaf: Any) -> bool:
    """Whether a place of `AugmentedState.kept` is of a tensor that is not changed."""
    return leaf is None


def strengths_at(theta: Float[Array, "changes knots"], fraction: Float[Array, ""]) -> Strengths:
    """How far at a part of the run; a blur is at most the 3×3 mean itself.

    Args:
        theta: Logarithms of the strengths relative to the initial ones, in units of `LOG_SCALE`.
        fraction: Of the run, in [0, 1].
    """
    factors = jnp.exp(LOG_SCALE * between(theta, fraction))
    found = Strengths(*(jnp.array(INITIAL_STRENGTHS) * factors))
    return found._replace(blur=jnp.minimum(found.blur, 1.0))


def seed_of(params: Params) -> Int[Array, ""]:
    """A number that initial weights fix, so that classifiers of other seeds see other changes."""
    total: Scalar = sum((leaf.sum() for leaf in jax.tree.leaves(params)), jnp.zeros(()))
    return jax.lax.bitcast_convert_type(total.astype(jnp.float32), jnp.int32)
