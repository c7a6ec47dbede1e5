"""Staggered runs: they go on from one estimate to the next, a truncation at a time.

First runs end one after the other, so that every estimate sees all ages of a run. What a run
carries along and what is learned from a truncation is each estimator's own.

Source: Vicol, Metz, Sohl-Dickstein, arXiv 2112.13835.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from noiseproof.inner_loop import Losses
from noiseproof.metatrain.objective import Objective
from noiseproof.metatrain.particles import combine, particle_keys
from noiseproof.metatrain.sharding import over_pairs
from noiseproof.types import Data, GradientEstimator, MetaEstimate, Theta


class Particle(NamedTuple):
    """A run, or a pair of runs, between two truncations.

    Attributes:
        carry: What the estimator carries along, the classifiers among it.
        run_key: Fixes the run's weights and batches, and its length.
        age: Truncations since the run began.
        last: The age at which a new run begins.
        num_truncations: Those of the whole run; more than `last` where a first run ends early.
        num_estimates: Estimates that the particle has been through.
    """

    carry: Any
    run_key: PRNGKeyArray
    age: Int[Array, ""]
    last: Int[Array, ""]
    num_truncations: Int[Array, ""]
    num_estimates: Int[Array, ""]


Start: TypeAlias = Callable[[Objective, Theta, PRNGKeyArray], Any]
"""`(objective, theta, run_key) -> carry`, of a new run; the objective is of the run's length."""

Advance: TypeAlias = Callable[
    [Objective, Theta, Particle, Data, PRNGKeyArray], tuple[Any, tuple[Any, Losses]]
]
"""`(objective, theta, particle, data, key) -> (carry, (gradient, losses))`, one truncation on."""

LENGTH_DRAW = 2**31 - 1
"""What a run's length is folded from its key with: no step of a run has this number."""


def staggered(
    objective: Objective,
    start: Start,
    advance: Advance,
    *,
    truncation: int,
    num_particles: int,
    runs_each: int,
    combine: Callable[[Any, Losses], MetaEstimate] = combine,
) -> GradientEstimator:
    """An estimator that takes one truncation of every particle's run.

    Args:
        objective: What is estimated.
        start: Begins a run.
        advance: Goes a truncation on.
        truncation: Inner steps a truncation; divides the run, and is whole loss intervals.
        num_particles: Particles; their first runs end early, so that runs are staggered.
        runs_each: Inner runs of a particle.
        combine: Makes one estimate of all particles' gradients and losses.

    Raises:
        ValueError: A truncation that does not divide the run or that cuts a loss interval, or
            devices that do not divide the particles.
    """
    check_truncation(objective, truncation)
    longest = objective.num_steps // truncation

    def draw_length(num_estimates: Int[Array, ""], run_key: PRNGKeyArray) -> Int[Array, ""]:
        if objective.run_length is None:
            return jnp.int32(longest)
        num_steps = objective.run_length(num_estimates, jax.random.fold_in(run_key, LENGTH_DRAW))
        return jnp.clip(jnp.ceil(num_steps / truncation), 1, longest).astype(jnp.int32)

    def of_length(num_truncations: Int[Array, ""]) -> Objective:
        # A length that is the same for all stays a constant of the compiled program.
        drawn = objective.run_length is not None
        return objective._replace(num_steps=truncation * num_truncations) if drawn else objective

    def begin(theta: Theta, num_estimates: Int[Array, ""], run_key: PRNGKeyArray) -> Particle:
        length = draw_length(num_estimates, run_key)
        carry = start(of_length(length), theta, run_key)
        return Particle(carry, run_key, jnp.zeros((), jnp.int32), length, length, num_estimates)

    def one_particle(
        shared: tuple[Theta, Data], own: tuple[Particle, PRNGKeyArray]
    ) -> tuple[Particle, tuple[Any, Losses]]:
        (theta, data), (particle, key) = shared, own
        run_key, key = jax.random.split(key)
        fresh = begin(theta, particle.num_estimates, run_key)
        particle = choose(particle.age == particle.last, fresh, particle)
        carry, found = advance(of_length(particle.num_truncations), theta, particle, data, key)
        num_estimates = particle.num_estimates + 1
        particle = particle._replace(carry=carry, age=particle.age + 1, num_estimates=num_estimates)
        return particle, found

    def first(theta: Theta, own: tuple[Int[Array, ""], PRNGKeyArray]) -> Particle:
        index, run_key = own
        particle = begin(theta, jnp.zeros((), jnp.int32), run_key)
        length = particle.num_truncations
        return particle._replace(last=length - index * length // num_particles % length)

    over_particles = partial(over_pairs, num_pairs=num_particles, placement=objective.placement)
    all_firsts, all_particles = over_particles(first), over_particles(one_particle)

    def init(theta: Theta, _data: Data, key: PRNGKeyArray) -> Particle:
        return all_firsts(theta, (jnp.arange(num_particles), particle_keys(num_particles, key)))

    def estimate(
        theta: Theta, state: Particle, data: Data, key: PRNGKeyArray
    ) -> tuple[MetaEstimate, Particle]:
        keys = particle_keys(num_particles, key)
        state, (gradients, losses) = all_particles((theta, data), (state, keys))
        return combine(gradients, losses), state

    return GradientEstimator(init, estimate, runs_each * num_particles * truncation)


def check_truncation(objective: Objective, truncation: int) -> None:
    """Raises ValueError where truncations do not fill the run or cut a loss interval."""
    num_steps, interval = objective.num_steps, objective.window.loss_interval
    if truncation < 1 or num_steps % truncation:
        allowed = [length for length in range(1, num_steps + 1) if num_steps % length == 0]
        nearest = min(allowed, key=lambda length: abs(length - truncation))
        raise ValueError(
            f"truncation must divide num_steps = {num_steps}, got {truncation}; "
            f"the nearest that does is {nearest}."
        )
    if truncation % interval:
        raise ValueError(
            f"truncation must be a multiple of loss_interval = {interval}, got {truncation}."
        )


def choose(condition: Bool[Array, ""], when_true: Any, when_false: Any) -> Any:
    """One of two pytrees, leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), when_true, when_false)
