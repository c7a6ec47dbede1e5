"""Antithetic pairs: what all evolution strategies here have in common.

Two runs with theta + std·ε and theta - std·ε share their initial weights, batches and outer
images, so that the difference of their losses is due to ε alone. The loss counted is the mean
over the last share of a run, taken every few steps, so that it can be summed as a run goes on.

Source: Salimans, Ho, Chen, Sidor, Sutskever, arXiv 1703.03864; the pairing as in Metz et al.,
arXiv 1810.10180.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Key, PRNGKeyArray

from noiseproof import inner_loop
from noiseproof.inner_loop import InnerState
from noiseproof.metatrain.run_lengths import RunLength
from noiseproof.types import Data, Layout, LearnedOptimizer, MetaEstimate, Recipe, Task, Theta


class Objective(NamedTuple):
    """What a learned optimizer is meta-trained on.

    Attributes:
        task: The inner problem.
        learned: The family of optimizers.
        layout: The roles of the classifier's tensors.
        num_steps: Length of an inner run.
        loss_interval: Steps between two evaluations of the meta-loss.
        last_share: The last share of a run whose meta-loss counts, in (0, 1]; 1 is the whole run.
        max_loss: Losses above count as this, so that no single run rules a mean, in nats.
        run_length: Draws the length of a meta-training run, of at most `num_steps`; None where
            all have that length.
        mesh: The devices that runs are spread over, see `devices.pairs_mesh`; None for one.
    """

    task: Task
    learned: LearnedOptimizer
    layout: Layout
    num_steps: int
    loss_interval: int = 1
    last_share: float = 1.0
    max_loss: float = 10.0
    run_length: RunLength = None
    mesh: Mesh | None = None


class Losses(NamedTuple):
    """The meta-losses of a stretch of a run, or of several along leading axes.

    Attributes:
        weighted: Each loss, clipped, times its weight.
        weights: 0 for a loss before the last share of the run; else such that weights average 1
            over a whole run.
        finite: Whether every loss of the stretch was, in training and outside.
    """

    weighted: Float[Array, "*runs losses"]
    weights: Float[Array, "*runs losses"]
    finite: Bool[Array, "*runs"]


def check_objective(objective: Objective) -> None:
    """Raises ValueError where the parts of an objective do not fit each other."""
    num_steps, interval = objective.num_steps, objective.loss_interval
    if num_steps < 1:
        raise ValueError(f"num_steps must be positive, got {num_steps}.")
    if interval < 1 or num_steps % interval:
        raise ValueError(f"loss_interval must divide num_steps = {num_steps}, got {interval}.")
    if not 0.0 < objective.last_share <= 1.0:
        raise ValueError(f"last_share must lie in (0, 1], got {objective.last_share}.")
    if not objective.max_loss > 0:
        raise ValueError(f"max_loss must be positive, got {objective.max_loss}.")


def check_whole_runs(objective: Objective) -> None:
    """Raises ValueError where runs that are taken whole differ in length."""
    if objective.run_length is not None:
        raise ValueError("run_length must be constant where an estimate takes whole runs.")


def check_pairs(num_pairs: int, std: float) -> None:
    """Raises ValueError where the perturbations are none."""
    if num_pairs < 1:
        raise ValueError(f"num_pairs must be positive, got {num_pairs}.")
    if not std > 0:
        raise ValueError(f"std must be positive, got {std}.")


def recipe_of(objective: Objective, theta: Theta) -> Recipe:
    """The recipe that `theta` stands for."""
    return Recipe(objective.learned.optimizer(theta, objective.num_steps, objective.layout))


def pair_keys(num_pairs: int, key: PRNGKeyArray) -> Key[Array, " pairs"]:
    """A key for each pair, tied to its index and not to how many there are."""
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(num_pairs))


def draw_eps(theta: Theta, key: PRNGKeyArray) -> Theta:
    """A standard normal perturbation; one draw for all leaves, which compiles in a third."""
    row, unravel = ravel_pytree(theta)
    return unravel(jax.random.normal(key, row.shape))


def start_run(objective: Objective, theta: Theta, run_key: PRNGKeyArray) -> InnerState:
    """A fresh run."""
    return inner_loop.init(objective.task, recipe_of(objective, theta), run_key)


def twins(state: InnerState) -> InnerState:
    """A run twice, along a new first axis: above and below."""
    return jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)


def start_pair(objective: Objective, theta: Theta, run_key: PRNGKeyArray) -> InnerState:
    """Two equal fresh runs along a new first axis: above and below."""
    return twins(start_run(objective, theta, run_key))


def unroll(
    objective: Objective,
    theta: Theta,
    state: InnerState,
    data: Data,
    num_steps: int,
    run_key: PRNGKeyArray,
) -> tuple[InnerState, Losses]:
    """Goes `num_steps` on; the mean weighted loss of a whole run is that over its last share."""
    task, interval = objective.task, objective.loss_interval
    recipe = recipe_of(objective, theta)
    # The last loss counts however small the share; the length of a run may be traced.
    num_counted_steps = jnp.maximum(jnp.round(objective.num_steps * objective.last_share), 1)
    num_counted_steps = num_counted_steps.astype(jnp.int32)
    first_counted = objective.num_steps - num_counted_steps
    num_losses = objective.num_steps // interval
    num_counted = num_losses - first_counted // interval

    # Drawn for all steps at once, outside the loop; a loss has a key of the step that follows.
    keys = inner_loop.stretch_keys(state.step, num_steps + 1, run_key)
    own_keys = keys[:-1].reshape(-1, interval, keys.shape[1])
    outer_keys = keys[interval::interval, 2]

    # Backpropagation keeps the states between intervals and goes through each interval again.
    @partial(jax.checkpoint, prevent_cse=False)
    def one_interval(
        state: InnerState, keys: tuple[Key[Array, "interval 3"], PRNGKeyArray]
    ) -> tuple[InnerState, Losses]:
        own, outer = keys
        state, losses = inner_loop.advance_under(task, recipe, state, data, own)
        loss = inner_loop.meta_loss_under(task, recipe, state, data, outer)
        weight = jnp.where(state.step > first_counted, num_losses / num_counted, 0.0)
        clipped = jnp.minimum(loss, objective.max_loss)
        finite = jnp.isfinite(losses).all() & jnp.isfinite(loss)
        return state, Losses(weight * clipped, weight, finite)

    state, losses = jax.lax.scan(one_interval, state, (own_keys, outer_keys))
    return state, losses._replace(finite=losses.finite.all())


def unroll_pair(
    objective: Objective,
    theta: Theta,
    shift: Theta,
    states: InnerState,
    data: Data,
    num_steps: int,
    run_key: PRNGKeyArray,
) -> tuple[InnerState, Losses]:
    """Both runs of a pair, with theta ± shift, `num_steps` on."""
    thetas = jax.tree.map(lambda mean, move: jnp.stack([mean + move, mean - move]), theta, shift)

    def one_run(theta: Theta, state: InnerState) -> tuple[InnerState, Losses]:
        # Both runs share the key, and so their weights and batches.
        return unroll(objective, theta, state, data, num_steps, run_key)

    return inner_loop.over_runs(one_run, in_turn=objective.task.in_turn)(thetas, states)


def pair_gradient(losses: Losses, direction: Theta, std: float) -> Theta:
    """The difference of a pair's mean losses, credited to a direction in units of std."""
    above, below = losses.weighted.mean(axis=1)
    slope = (above - below) / (2.0 * std)
    return optax.tree.scale(slope, direction)


def combine(gradients: Theta, losses: Losses) -> MetaEstimate:
    """The mean over pairs; those of which a run diverged are left out and counted.

    Where all diverged the gradient is zero; the signal-to-noise ratio is nan where fewer than two
    did not, since one has no spread; the meta-loss is nan where no loss counts.

    Args:
        gradients: Each pair's gradient, along the first axis of every leaf.
        losses: Of both runs of each pair.
    """
    finite = losses.finite.all(axis=1)
    num_finite = jnp.maximum(finite.sum(), 1)

    def masked_mean(leaf: Float[Array, "pairs ..."]) -> Float[Array, "..."]:
        mask = finite.reshape(-1, *[1] * (leaf.ndim - 1))
        return jnp.where(mask, leaf, 0.0).sum(axis=0) / num_finite

    mean = jax.tree.map(masked_mean, gradients)
    mean_square = jax.tree.map(lambda leaf: masked_mean(leaf**2), gradients)
    variance = optax.tree.sum(mean_square) - optax.tree.norm(mean, squared=True)
    error = jnp.sqrt(jnp.maximum(variance, 0.0) / jnp.maximum(num_finite - 1, 1))
    ratio = optax.tree.norm(mean) / jnp.maximum(error, 1e-20)
    return MetaEstimate(
        gradient=mean,
        meta_loss=masked_mean(losses.weighted).sum() / masked_mean(losses.weights).sum(),
        signal_to_noise=jnp.where(finite.sum() > 1, ratio, jnp.nan),
        diverged_share=(~finite).mean(),
    )
