"""Several things timed in turn, window by window, so that a busy machine slows all alike."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax


class Timed(NamedTuple):
    """Attributes: work done a window, and what does it; it returns arrays to wait for."""

    work: float
    window: Callable[[], Any]


class Rates(NamedTuple):
    """Work per second in each window.

    Attributes:
        wall: By the clock.
        cpu: By the seconds of all cores that the process used.
    """

    wall: list[float]
    cpu: list[float]


def rates(timed: Mapping[Any, Timed], num_windows: int) -> dict[Any, Rates]:
    """Rates of all, measured in turn after one window that warms up."""
    found = {name: Rates([], []) for name in timed}
    for index in range(num_windows + 1):
        for name, (work, window) in timed.items():
            wall, cpu = time.perf_counter(), time.process_time()
            jax.block_until_ready(window())
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if index > 0:
                found[name].wall.append(work / wall)
                found[name].cpu.append(work / cpu)
    return found


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """The median over windows of one rate over the other of the same window."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def on_this_machine(record: dict[str, Any]) -> dict[str, Any]:
    """A record with what it was measured on."""
    return {
        **record,
        "device": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {name: version(name) for name in ("jax", "jaxlib", "numpy", "optax")},
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """What every benchmark may be told."""
    parser.add_argument("--windows", type=int, default=5, help="measured in turn, at least 1")
    parser.add_argument("--json", type=Path, help="file for the record that is printed")


def report(record: dict[str, Any], path: Path | None) -> None:
    """Prints a record, and writes it where there is a path."""
    text = json.dumps(on_this_machine(record), indent=2, ensure_ascii=False)
    print(text)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", "utf-8")
