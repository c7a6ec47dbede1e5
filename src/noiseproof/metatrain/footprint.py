"""The memory of meta-training, read off shapes alone: what a pair of runs needs, and all of them.

A pair is there twice, as it was and as it will be, since a step makes a new state from the old one.
While it is under way each of its runs holds a gradient and an update, and what the products,
convolutions and gathers of an inner step leave; what is computed element by element is fused and
never stored. Data, pool and the outer optimizer's state are shared by all pairs of a device.

Within a factor of 1.5 of what compilers need for evolution strategies. Backpropagation through
inner steps keeps far more, which only the compiler knows.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn
from jaxtyping import PRNGKeyArray

from noiseproof import inner_loop
from noiseproof.inner_loop import InnerState
from noiseproof.metatrain.antithetic import Objective, recipe_of, start_run
from noiseproof.types import Data, GradientEstimator, Theta

MEMORY_TABLE = Path("/proc/meminfo")

STORED = {"dot_general", "conv_general_dilated", "gather", "concatenate", "reduce_window_max"}
"""What a compiler does not fuse into what follows."""

COPIES_OF_THETA = 8
"""Theta, two moments, the initial and the best one, a gradient, an update, and one to spare."""


class Footprint(NamedTuple):
    """Bytes that meta-training needs on one device.

    Attributes:
        num_pairs: Antithetic pairs on the device, or runs of an estimator without pairs.
        carried: What a pair is made of: weights, optimizer states, perturbations.
        params: The weights of one classifier.
        activations: What an inner step leaves: its batch, hidden layers, and the rule's own.
        in_turn: Whether one run is at work at a time, see `Task.in_turn`, or all are.
        theta: One copy of it.
        shared: Data and the pool of outer images.
    """

    num_pairs: int
    carried: int
    params: int
    activations: int
    in_turn: bool
    theta: int
    shared: int


def footprint(
    objective: Objective, estimator: GradientEstimator, data: Data, num_pairs: int
) -> Footprint:
    """Reads an estimator's memory off its shapes; nothing is computed or compiled.

    Args:
        objective: What is meta-trained.
        estimator: How its gradient is estimated.
        data: The task's data with the outer split.
        num_pairs: Pairs of the estimator, or runs where it has no pairs.
    """
    key = jax.random.key(0)
    theta = jax.eval_shape(objective.learned.init, key)
    state = jax.eval_shape(estimator.init, theta, data, key)
    run = jax.eval_shape(lambda theta, key: start_run(objective, theta, key), theta, key)
    pooled = jax.eval_shape(objective.task.refresh, data, key)

    def step(theta: Theta, run: InnerState, data: Data, key: PRNGKeyArray) -> Any:
        return inner_loop.step(objective.task, recipe_of(objective, theta), run, data, key)

    traced = jax.make_jaxpr(step)(theta, run, data, key)
    num_devices = 1 if objective.mesh is None else objective.mesh.size
    return Footprint(
        num_pairs=num_pairs // num_devices,
        # An estimator that takes whole runs carries none from one estimate to the next.
        carried=num_bytes(state) // num_pairs or 2 * num_bytes(run),
        params=num_bytes(run.params),
        activations=sum(stored_bytes(traced.jaxpr)),
        in_turn=objective.task.in_turn,
        theta=num_bytes(theta),
        shared=num_bytes(pooled),
    )


def num_bytes(tree: Any) -> int:
    """Of all arrays of a pytree, or of their shapes; a random key counts as its two numbers."""
    return sum(leaf.size * item_bytes(leaf.dtype) for leaf in jax.tree.leaves(tree))


def item_bytes(dtype: Any) -> int:
    """Of one number, or of one random key."""
    return 8 if jnp.issubdtype(dtype, jax.dtypes.prng_key) else dtype.itemsize


def stored_bytes(program: Jaxpr) -> Iterator[int]:
    """What each equation that is not fused leaves, inner programs included."""
    for equation in program.eqns:
        inner = list(inner_programs(equation))
        for one in inner:
            yield from stored_bytes(one)
        if not inner and equation.primitive.name in STORED:
            yield num_bytes([variable.aval for variable in equation.outvars])


def inner_programs(equation: JaxprEqn) -> Iterator[Jaxpr]:
    """The programs that an equation calls."""
    for value in jax.tree.leaves(
        equation.params, is_leaf=lambda leaf: isinstance(leaf, ClosedJaxpr | Jaxpr)
    ):
        if isinstance(value, ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, Jaxpr):
            yield value


def pair_bytes(need: Footprint) -> int:
    """Of one pair: carried twice, its gradient, and two runs at work where all are."""
    return 2 * need.carried + 2 * need.theta + (0 if need.in_turn else 2 * run_bytes(need))


def run_bytes(need: Footprint) -> int:
    """Of one run at work: a gradient, an update, and what a step leaves."""
    return 2 * need.params + need.activations


def fixed_bytes(need: Footprint) -> int:
    """Of what all pairs of a device share."""
    return need.shared + COPIES_OF_THETA * need.theta + (run_bytes(need) if need.in_turn else 0)


def total_bytes(need: Footprint) -> int:
    """Of all pairs of a device and what they share."""
    return need.num_pairs * pair_bytes(need) + fixed_bytes(need)


def most_pairs(need: Footprint, available: int) -> int:
    """How many pairs a device with so many free bytes has room for."""
    return max((available - fixed_bytes(need)) // pair_bytes(need), 0)


def check_fits(need: Footprint, available: int, num_devices: int) -> None:
    """Raises ValueError where pairs need more than the free bytes of a device, saying what fits."""
    if total_bytes(need) <= available:
        return
    most = most_pairs(need, available) * num_devices
    allowed = f"at most {most}" if most else "fewer or of smaller runs: not one fits"
    raise ValueError(
        f"The number of pairs must be {allowed}, got {need.num_pairs * num_devices}: they need "
        f"{total_bytes(need) / 1e9:.3g} GB a device, of which {available / 1e9:.3g} GB are free."
    )


def free_bytes() -> int:
    """What is free on the first device, for each of those that share it."""
    device = jax.local_devices()[0]
    told = device.memory_stats()
    if told and "bytes_limit" in told:
        return told["bytes_limit"] - told["bytes_in_use"]
    found = None
    if MEMORY_TABLE.is_file():
        found = re.search(r"MemAvailable: +(\d+) kB", MEMORY_TABLE.read_text("ascii"))
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    host = int(found[1]) * 1024 if found else pages
    return host // jax.local_device_count()
