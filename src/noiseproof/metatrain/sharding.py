"""Many devices: pairs of runs are spread over them, each keeps its own.

A pair's randomness is tied to its index, so that an estimate is the same on any number of devices,
save for the order of its sums. Runs never speak to each other: what crosses between devices is
what is summed over pairs, a few copies of theta, however many pairs there are.

Built on JAX's own engine: `jax.shard_map` over a mesh of one axis.
"""

import contextlib
import math
import os
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from noiseproof import inner_loop

PAIRS = "pairs"
"""The mesh's one axis."""

MOST_DEVICES = 8
"""Calls of the comparison hold few runs, which more devices could not share."""

COLLECTIVE = re.compile(
    r"= (.*?) (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)
"""What is exchanged in the text of a compiled program: its shapes, and how."""

ARRAY = re.compile(r"\b[a-z]+(\d+)\[([\d,]*)\]")
"""An array in that text: bits of a number, and sides."""

Tree = TypeVar("Tree")


class Placement(NamedTuple):
    """Where runs are computed; it changes no result, save for the order of sums.

    Attributes:
        mesh: The devices that pairs are spread over, see `pairs_mesh`; None for one.
        in_turn: Whether the runs of a device go one after another, see
            `inner_loop.faster_in_turn`, or are stacked.
    """

    mesh: Mesh | None = None
    in_turn: bool = False


def pairs_mesh(num_pairs: int) -> Mesh | None:
    """The devices that pairs are spread over, evenly, or None where one does it all.

    Raises:
        ValueError: The pairs cannot be spread evenly over the processes.
    """
    local = [jax.local_devices(process_index=index) for index in range(jax.process_count())]
    each = num_devices_each(num_pairs, len(local), min(len(devices) for devices in local))
    chosen = [device for devices in local for device in devices[:each]]
    return Mesh(np.array(chosen), (PAIRS,)) if len(chosen) > 1 else None


def use_all_cores() -> None:
    """Makes devices of the cores, so that runs which are spread over devices use all of them.

    One of each core: what is spread over some devices alone takes longer where others idle
    (docs/speed.md). Nothing changes where JAX has begun already, or where the environment says how
    many there are.
    """
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", min(os.cpu_count() or 1, MOST_DEVICES))


def spread(placement: Placement, num_runs: int) -> Placement:
    """The placement with runs spread over all devices of this process, evenly."""
    devices = jax.local_devices()
    if len(devices) == 1 or jax.process_count() > 1:
        return placement
    each = num_devices_each(num_runs, 1, len(devices))
    mesh = Mesh(np.array(devices[:each]), (PAIRS,)) if each > 1 else None
    return placement._replace(mesh=mesh)


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
    one_pair: Callable[[Any, Any], Any], num_pairs: int, placement: Placement
) -> Callable[[Any, Any], Any]:
    """`(shared, own) -> result` of all pairs, which lie along the first axis of `own` and result.

    Args:
        one_pair: The same for one pair.
        num_pairs: How many there are.
        placement: The devices that they are spread over, and how on each.

    Raises:
        ValueError: The devices do not divide the pairs.
    """
    mesh = placement.mesh

    def all_pairs(shared: Any, own: Any) -> Any:
        return inner_loop.over_runs(partial(one_pair, shared), in_turn=placement.in_turn)(own)

    if mesh is None:
        return all_pairs
    if num_pairs % mesh.size:
        raise ValueError(
            f"The number of pairs must be a multiple of the mesh's {mesh.size} devices, got "
            f"{num_pairs}."
        )
    replicated, split = PartitionSpec(), PartitionSpec(PAIRS)
    # Without the check, since a gradient with respect to what all share would be summed over
    # devices by it, and a pair's is its own.
    return jax.shard_map(
        all_pairs, mesh=mesh, in_specs=(replicated, split), out_specs=split, check_vma=False
    )


def over_runs(
    one_run: Callable[[Any, Any], Any], num_runs: int, placement: Placement
) -> Callable[[Any, Any], Any]:
    """As `over_pairs`, for any number of runs: devices that would idle do some of them again."""
    num_devices = 1 if placement.mesh is None else placement.mesh.size
    num_done = -(-num_runs // num_devices) * num_devices
    all_runs = over_pairs(one_run, num_done, placement)
    if num_done == num_runs:
        return all_runs

    def runs(shared: Any, own: Any) -> Any:
        repeated = jax.tree.map(lambda leaf: leaf[np.arange(num_done) % num_runs], own)
        return jax.tree.map(lambda leaf: leaf[:num_runs], all_runs(shared, repeated))

    return runs


def replicate(tree: Tree, mesh: Mesh | None) -> Tree:
    """A pytree of arrays, alike in every process, as one copy on each device of the mesh."""
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec())

    def copy(leaf: Any) -> jax.Array:
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    # What stands in the tree twice, such as a split that two tasks share, is copied once.
    copies = {id(leaf): copy(leaf) for leaf in jax.tree.leaves(tree)}
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


def as_local(tree: Tree) -> Tree:
    """A pytree of arrays of which every device has a copy, as arrays of this process alone."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), tree)
