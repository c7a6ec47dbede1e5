"""Whether meta-training fits into the memory of a device, and whether its pairs are stacked.

What inner runs carry from one outer step to the next is read off shapes, before anything is
compiled; what an outer step needs in all, the compiler says.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

from noiseproof.metatrain.objective import Objective, recipe_of
from noiseproof.metatrain.sharding import Placement
from noiseproof.types import Data, GradientEstimator

MEMORY_TABLE = Path("/proc/meminfo")

MANY_BYTES = 500_000
"""Of a run's weights and averages: where there are more, pairs were faster in turn than stacked, or
as fast; where there are fewer, they were slower (docs/speed.md)."""

KEY_BYTES = 8
"""Of a random key: its two numbers."""


def num_bytes(tree: Any) -> int:
    """Of all arrays of a pytree, or of their shapes."""

    def leaf_bytes(leaf: Any) -> int:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return leaf.size * (KEY_BYTES if is_key else leaf.dtype.itemsize)

    return sum(map(leaf_bytes, jax.tree.leaves(tree)))


def program_bytes(compiled: jax.stages.Compiled) -> int:
    """What a program needs on a device beside its arguments; 0 where the compiler does not say."""
    memory = compiled.memory_analysis()
    return sum(getattr(memory, f"{part}_size_in_bytes", 0) for part in ("output", "temp"))


def most_bytes(programs: Sequence[jax.stages.Compiled]) -> int:
    """What programs need on a device where one runs for each core at the same time."""
    needed = sorted(map(program_bytes, programs), reverse=True)
    return sum(needed[: os.cpu_count()])


def free_bytes() -> int:
    """What is free on the first device, for each of those that share it."""
    device = jax.local_devices()[0]
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    match = None
    if MEMORY_TABLE.is_file():
        match = re.search(r"MemAvailable: +(\d+) kB", MEMORY_TABLE.read_text("ascii"))
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    host = int(match[1]) * 1024 if match else pages
    return host // jax.local_device_count()


def check_fits(
    needed: int,
    available: int,
    what: str = "Meta-training",
    hint: str = "fewer pairs, or smaller runs",
) -> None:
    """Raises ValueError where a device has fewer bytes free than are needed."""
    if needed > available:
        raise ValueError(
            f"{what} needs {needed / 1e9:.3g} GB a device, of which {available / 1e9:.3g} "
            f"GB are free: it takes {hint}."
        )


def on_devices(objective: Objective, mesh: Mesh | None) -> Objective:
    """The objective with its pairs spread over devices; on each they go in turn if that is faster.

    So they do where runs of the classifier do, see `inner_loop.faster_in_turn`, and on a CPU where
    a run keeps more than `MANY_BYTES`.
    """

    def kept(key: PRNGKeyArray) -> Any:
        recipe, params = recipe_of(objective, objective.learned.init(key)), objective.task.init(key)
        return params, recipe.optimizer.init(params)

    in_turn = objective.placement.in_turn
    if jax.default_backend() == "cpu" and not in_turn:
        in_turn = num_bytes(jax.eval_shape(kept, jax.random.key(0))) > MANY_BYTES
    return objective._replace(placement=Placement(mesh, in_turn))


def check_runs_fit(
    objectives: Sequence[Objective], estimator: GradientEstimator, data: Data
) -> int:
    """The bytes of the inner runs that a device carries along; nothing is computed or compiled.

    Args:
        objectives: What is meta-trained on, an objective for each task.
        estimator: How the gradient of all is estimated.
        data: The data that it takes, with the outer split.

    Raises:
        ValueError: A device has no room for them.
    """
    key = jax.random.key(0)
    theta = jax.eval_shape(objectives[0].learned.init, key)
    state = jax.eval_shape(estimator.init, theta, data, key)
    mesh = objectives[0].placement.mesh
    num_devices = 1 if mesh is None else mesh.size
    carried = num_bytes(state) // num_devices

    def in_flight(objective: Objective) -> int:
        # Runs that begin and end within an outer step: each has its weights and their gradient.
        steps = estimator.num_inner_steps // len(objectives)
        in_turn = objective.placement.in_turn
        whole_runs = 1 if in_turn else steps // objective.num_steps // num_devices
        return 2 * whole_runs * num_bytes(jax.eval_shape(objective.task.init, key))

    check_fits(max(carried, *map(in_flight, objectives)), free_bytes())
    return carried
