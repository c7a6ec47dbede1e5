"""What a run would cost on this machine, said before anything starts.

Memory by a formula from shapes and by the compiler; time by compiling the very programs of
meta-training and running a few outer steps. Nothing is written.
"""

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from rich.console import Console

from noiseproof.commands.notices import tell_notices
from noiseproof.experiment.build import Experiment
from noiseproof.experiment.comparison import device_words
from noiseproof.experiment.meta_problem import MetaProblem
from noiseproof.metatrain.devices import everywhere, exchanged_bytes
from noiseproof.metatrain.footprint import (
    Footprint,
    check_fits,
    footprint,
    free_bytes,
    most_pairs,
    pair_bytes,
    run_bytes,
    total_bytes,
)
from noiseproof.metatrain.outer_loop import Plan, build_steps

NUM_TIMED = 3
"""Outer steps that are timed; the fastest counts, since a machine only ever slows down."""


class Measured(NamedTuple):
    """The programs of meta-training, compiled and tried.

    Attributes:
        compile_seconds: Of the start, an outer step, a pool of `select` and a score.
        outer_step_seconds: Wall-clock seconds of an outer step.
        score_seconds: Of a score on `select`.
        program_bytes: What an outer step needs on a device, by the compiler.
        exchanged_bytes: What a device sums with the others in an outer step.
    """

    compile_seconds: dict[str, float]
    outer_step_seconds: float
    score_seconds: float
    program_bytes: int
    exchanged_bytes: int


def plan(preset: str, experiment: Experiment, console: Console, *, as_json: bool) -> dict[str, Any]:
    """Says memory, compile and run time of a run.

    Args:
        preset: Name of the preset.
        experiment: The experiment.
        console: Where it is printed.
        as_json: Whether as JSON.

    Returns:
        What `--json` prints.

    Raises:
        ValueError: The run does not fit.
    """
    tell_notices(experiment.problem.dataset)
    need, free = check_memory(experiment), free_bytes()
    found = costs(experiment, need, free, measure(experiment.plan, experiment.meta))
    found = {"preset": preset, "device": device_words(), **found}
    if as_json:
        console.print_json(json.dumps(found))
    else:
        for line in in_words(found, need):
            console.print(line, soft_wrap=True, highlight=False)
    return found


def check_memory(experiment: Experiment) -> Footprint:
    """What meta-training needs, by the formula; a pair of several tasks is one of each.

    Raises:
        ValueError: It is more than a device has free.
    """
    meta = experiment.meta
    estimator = experiment.record["estimator"]
    num_particles = estimator.get("num_pairs") or estimator["num_runs"]
    need = footprint(meta.objective, meta.estimator, meta.data, num_particles)
    check_fits(need, free_bytes(), num_devices(meta))
    return need


def num_devices(meta: MetaProblem) -> int:
    """Devices that pairs are spread over."""
    mesh = meta.objective.mesh
    return 1 if mesh is None else mesh.size


def measure(schedule: Plan, meta: MetaProblem) -> Measured:
    """Compiles the programs of meta-training and runs a few outer steps."""
    objective = meta.objective
    steps = build_steps(objective, meta.estimator, schedule)
    data, select_data = everywhere((meta.data, meta.select_data), objective.mesh)
    key = jax.random.key(0)
    start, start_seconds = timed(lambda: steps.start.lower(data, key, key).compile())
    state = start(data, key, key)
    advance, advance_seconds = timed(lambda: steps.advance.lower(state, data, key).compile())
    select_data, refresh_seconds = timed(lambda: steps.refresh(select_data, key))
    score, score_seconds = timed(lambda: steps.score.lower(state.theta, select_data, key).compile())
    tried = [timed(lambda: advance(state, data, key))[1] for _ in range(NUM_TIMED)]
    memory = advance.memory_analysis()
    parts = ("argument", "output", "temp")
    return Measured(
        {
            "start": start_seconds,
            "outer_step": advance_seconds,
            "refresh": refresh_seconds,
            "score": score_seconds,
        },
        min(tried),
        timed(lambda: score(state.theta, select_data, key))[1],
        sum(getattr(memory, f"{part}_size_in_bytes", 0) for part in parts),
        exchanged_bytes(advance),
    )


def timed(action: Callable[[], Any]) -> tuple[Any, float]:
    """What an action gives, and the seconds until it was there."""
    began = time.perf_counter()
    found = jax.block_until_ready(action())
    return found, time.perf_counter() - began


def costs(experiment: Experiment, need: Footprint, free: int, made: Measured) -> dict[str, Any]:
    """Memory and time of the whole run, in bytes and seconds."""
    schedule = experiment.plan
    num_matched = sum(search.num_trials is None for search in experiment.searches)
    num_scores = -(-schedule.num_outer_steps // schedule.select_every)
    training = schedule.num_outer_steps * made.outer_step_seconds
    runs = num_compared_runs(experiment)
    compiling = sum(made.compile_seconds.values())
    scoring = num_scores * made.score_seconds
    return {
        "memory": {
            "pairs_per_device": need.num_pairs,
            "bytes_per_pair": pair_bytes(need),
            "carried_bytes": need.carried,
            "params_bytes": need.params,
            "activation_bytes": need.activations,
            "theta_bytes": need.theta,
            "shared_bytes": need.shared,
            "formula_bytes": total_bytes(need),
            "program_bytes": made.program_bytes,
            "free_bytes": free,
            "most_pairs_per_device": most_pairs(need, free),
        },
        "compile_seconds": made.compile_seconds,
        "outer_steps": schedule.num_outer_steps,
        "outer_step_seconds": made.outer_step_seconds,
        "scores": num_scores,
        "score_seconds": made.score_seconds,
        "meta_training_seconds": compiling + training + scoring,
        "compared_runs": runs,
        "comparison_seconds_at_most": runs * made.score_seconds / schedule.num_select_runs
        + num_matched * training,
        "exchanged_bytes_per_outer_step": made.exchanged_bytes,
    }


def num_compared_runs(experiment: Experiment) -> int:
    """Runs of tuning and of the final evaluation, each as long as an inner run."""
    num_trials = sum(search.num_trials or 0 for search in experiment.searches)
    num_rivals = len(experiment.searches)
    num_final_runs = num_rivals * experiment.num_finalists * experiment.num_final_runs
    return num_trials + num_final_runs + (num_rivals + 2) * experiment.num_seeds


def in_words(found: dict[str, Any], need: Footprint) -> list[str]:
    """The same for a reader, with the formula of memory."""
    memory = found["memory"]
    compiling = sum(found["compile_seconds"].values())
    lines = [
        f"{found['preset']} on {found['device']}",
        f"memory of a run at work: 2 × {size(need.params)} weights"
        f" + {size(need.activations)} activations = {size(run_bytes(need))}",
        f"memory of a pair: 2 × {size(need.carried)} carried + 2 × {size(need.theta)} theta"
        f"{'' if need.in_turn else ' + 2 runs at work'} = {size(pair_bytes(need))}",
        f"memory of a device: {need.num_pairs} pairs + {size(need.shared)} data and pool"
        f"{' + 1 run at work' if need.in_turn else ''}"
        f" = {size(total_bytes(need))}, {size(memory['program_bytes'])} by the compiler;"
        f" {size(memory['free_bytes'])} free, room for {memory['most_pairs_per_device']:,} pairs",
        f"compiling: {compiling:.1f} s",
        f"meta-training: {found['outer_steps']} outer steps of {found['outer_step_seconds']:.3g} s"
        f" and {found['scores']} scores of {found['score_seconds']:.3g} s:"
        f" {found['meta_training_seconds']:.0f} s with compiling",
        f"tuning and tests: {found['compared_runs']} runs, at most about"
        f" {found['comparison_seconds_at_most']:.0f} s and their compiling",
    ]
    if found["exchanged_bytes_per_outer_step"]:
        summed = size(found["exchanged_bytes_per_outer_step"])
        lines.append(f"summed over devices: {summed} an outer step")
    return lines


def size(num_bytes: int) -> str:
    """Bytes in words, with three digits."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.3g} {unit}"
    return f"{num_bytes} B"
