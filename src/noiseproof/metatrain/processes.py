"""Many processes of one run: joined, asked whether to stop, one of them writing, parted again."""

import os
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from noiseproof.messages import short

CONNECTION_SECONDS = 60
"""How long processes wait for each other at the beginning and at the end."""


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
        raise ValueError(f"coordinator must have the form HOST:PORT, got {short(coordinator)}.")
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
        raise ValueError(f"{name} must be a whole number, got {short(text)}.")
    return int(text)


def any_process_stops(stop: bool, seconds: float) -> tuple[bool, float]:
    """Whether any process is to stop, and the first one's clock; all processes must ask.

    One exchange says both.
    """
    if jax.process_count() == 1:
        return stop, seconds
    stops, clocks = multihost_utils.process_allgather(np.array([float(stop), seconds])).T
    return bool(stops.any()), float(clocks[0])


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
    if any_process_stops(bool(complaint), 0.0)[0]:
        raise ValueError(complaint or "The first process could not begin; it says why.")


def leave() -> None:
    """Parts from the other processes, so that one may go on alone; all must call."""
    if jax.process_count() > 1:
        jax.distributed.shutdown()
