"""Many devices, many processes: pairs of runs are spread over them, each keeps its own.

A pair's randomness is tied to its index, so that an estimate is the same on any number of devices,
save for the order of its sums. Runs never speak to each other: what crosses between devices is
what is summed over pairs, a few copies of theta, however many pairs there are.

Built on JAX's own engine: `jax.shard_map` over a mesh of one axis, and `jax.distributed`.
"""

import math
import os
import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from noiseproof import inner_loop

PAIRS = "pairs"
"""The mesh's one axis."""

COLLECTIVE = re.compile(
    r"= (.*?) (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)
"""What is exchanged in the text of a compiled program: its shapes, and how."""

ARRAY = re.compile(r"\b[a-z]+(\d+)\[([\d,]*)\]")
"""An array in that text: bits of a number, and sides."""

CONNECTION_SECONDS = 60
"""How long processes wait for each other at the beginning and at the end."""

Tree = TypeVar("Tree")


def connect(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Joins this process to the others; call it before anything else of JAX.

    Args:
        coordinator: `host:port` of process 0, the same for all; None for what the variable
            JAX_COORDINATOR_ADDRESS says, or SLURM, or whatever else JAX knows to start processes.
        num_processes: How many there are; None likewise, for JAX_NUM_PROCESSES.
        process_id: This one's number, from 0; None likewise, for JAX_PROCESS_ID.

    Raises:
        ValueError: Something is missing that nobody knows, or the numbers do not fit.
    """
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    num_processes = from_environment("JAX_NUM_PROCESSES", num_processes)
    process_id = from_environment("JAX_PROCESS_ID", process_id)
    if process_id is not None and num_processes is not None and not 0 <= process_id < num_processes:
        raise ValueError(f"process_id must lie in [0, {num_processes - 1}], got {process_id}.")
    if coordinator is not None and not coordinator.rpartition(":")[2].isdigit():
        raise ValueError(f"coordinator must have the form HOST:PORT, got {coordinator}.")
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            initialization_timeout=CONNECTION_SECONDS,
            shutdown_timeout_seconds=CONNECTION_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        given = f"coordinator {coordinator}, {num_processes} processes, process {process_id}"
        raise ValueError(f"The processes could not be joined ({given}): {error}") from error


def from_environment(name: str, given: int | None) -> int | None:
    """What was given, or else a variable of the environment.

    Raises:
        ValueError: The variable is no whole number.
    """
    text = os.environ.get(name, "")
    if given is not None or not text:
        return given
    if not text.isdigit():
        raise ValueError(f"{name} must be a whole number, got {text}.")
    return int(text)


def pairs_mesh(num_pairs: int) -> Mesh | None:
    """The devices that pairs are spread over, evenly, or None where one does it all.

    Raises:
        ValueError: The pairs cannot be spread evenly over the processes.
    """
    local = [jax.local_devices(process_index=index) for index in range(jax.process_count())]
    each = num_devices_each(num_pairs, len(local), min(len(devices) for devices in local))
    chosen = [device for devices in local for device in devices[:each]]
    return Mesh(np.array(chosen), (PAIRS,)) if len(chosen) > 1 else None


def num_devices_each(num_pairs: int, num_processes: int, most: int) -> int:
    """How many devices of each process do equally many pairs: 12 pairs take 6 devices of 8.

    Raises:
        ValueError: The pairs cannot be spread evenly over the processes.
    """
    if num_pairs % num_processes:
        below = num_pairs - num_pairs % num_processes
        nearest = " and ".join(str(n) for n in (below, below + num_processes) if n)
        raise ValueError(
            f"The number of pairs must be a multiple of the {num_processes} processes, got "
            f"{num_pairs}; the nearest is {nearest}."
        )
    each = num_pairs // num_processes
    return max(number for number in range(1, most + 1) if each % number == 0)


def over_pairs(
    one_pair: Callable[[Any, Any], Any],
    num_pairs: int,
    mesh: Mesh | None,
    *,
    in_turn: bool = False,
) -> Callable[[Any, Any], Any]:
    """`(shared, own) -> result` of all pairs, which lie along the first axis of `own` and result.

    Args:
        one_pair: The same for one pair.
        num_pairs: How many there are.
        mesh: The devices that they are spread over, or None for one.
        in_turn: Whether those of a device go one after another, see `Task.in_turn`.

    Raises:
        ValueError: The devices do not divide the pairs.
    """

    def all_pairs(shared: Any, own: Any) -> Any:
        return inner_loop.over_runs(partial(one_pair, shared), in_turn=in_turn)(own)

    if mesh is None:
        return all_pairs
    if num_pairs % mesh.size:
        raise ValueError(
            f"The number of pairs must be a multiple of the mesh's {mesh.size} devices, got "
            f"{num_pairs}."
        )
    everywhere, spread = PartitionSpec(), PartitionSpec(PAIRS)
    # Without the check, since a gradient with respect to what all share would be summed over
    # devices by it, and a pair's is its own.
    return jax.shard_map(
        all_pairs, mesh=mesh, in_specs=(everywhere, spread), out_specs=spread, check_vma=False
    )


def over_runs(
    one_run: Callable[[Any, Any], Any],
    num_runs: int,
    mesh: Mesh | None,
    *,
    in_turn: bool = False,
) -> Callable[[Any, Any], Any]:
    """As `over_pairs`, for any number of runs: devices that would idle do some of them again."""
    if mesh is None:
        return over_pairs(one_run, num_runs, mesh, in_turn=in_turn)
    num_done = -(-num_runs // mesh.size) * mesh.size
    all_runs = over_pairs(one_run, num_done, mesh, in_turn=in_turn)

    def runs(shared: Any, own: Any) -> Any:
        repeated = jax.tree.map(lambda leaf: leaf[np.arange(num_done) % num_runs], own)
        return jax.tree.map(lambda leaf: leaf[:num_runs], all_runs(shared, repeated))

    return runs


def everywhere(tree: Tree, mesh: Mesh | None) -> Tree:
    """A pytree of arrays, alike in every process, as one copy on each device of the mesh."""
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec())

    def spread(leaf: Any) -> jax.Array:
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    # What stands in the tree twice, such as a split that two tasks share, is copied once.
    copies = {id(leaf): spread(leaf) for leaf in jax.tree.leaves(tree)}
    return jax.tree.map(lambda leaf: copies[id(leaf)], tree)


def exchanged_bytes(compiled: jax.stages.Compiled) -> int:
    """What each device sums with the others in one run of a compiled program, in bytes.

    Counted once, as the size of what is summed; a ring sends nearly twice as much per device.

    Raises:
        ValueError: Devices exchange something else than sums.
    """
    total = 0
    for shapes, kind in COLLECTIVE.findall(compiled.as_text() or ""):
        if kind != "all-reduce":
            raise ValueError(f"Devices must exchange nothing but sums, got {kind} of {shapes}.")
        for size, sides in ARRAY.findall(shapes):
            total += int(size) // 8 * math.prod(int(side) for side in sides.split(",") if side)
    return total


def agree(stop: bool, seconds: float) -> tuple[bool, float]:
    """Whether any process is to stop, and the first one's clock; all processes must ask."""
    if jax.process_count() == 1:
        return stop, seconds
    told = multihost_utils.process_allgather(np.array([float(stop), seconds]))
    return bool(told[:, 0].any()), float(told[0, 1])


def is_first_process() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0


def first_alone(action: Callable[[], None]) -> None:
    """Lets the first process act while the others wait.

    Raises:
        ValueError: The first process raised one; then all do.
    """
    complaint = ""
    if is_first_process():
        try:
            action()
        except ValueError as error:
            complaint = str(error)
    if agree(bool(complaint), 0.0)[0]:
        raise ValueError(complaint or "The first process could not begin; it says why.")


def here(tree: Tree) -> Tree:
    """A pytree of arrays of which every device has a copy, as arrays of this process alone."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), tree)


def leave() -> None:
    """Parts from the other processes, so that one may go on alone; all must call."""
    if jax.process_count() > 1:
        jax.distributed.shutdown()
