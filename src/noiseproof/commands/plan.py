"""What a run would cost on this machine, said before anything starts.

Memory by the compiler, time by compiling the very programs of meta-training and running a few outer
steps. Nothing is written.
"""

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from rich.console import Console

from noiseproof.experiment.build import Experiment
from noiseproof.experiment.comparison import device_words
from noiseproof.experiment.meta_problem import MetaProblem
from noiseproof.metatrain.memory import check_fits, check_runs_fit, free_bytes, most_bytes
from noiseproof.metatrain.outer_loop import Plan, build_steps
from noiseproof.metatrain.sharding import exchanged_bytes, replicate
from noiseproof.terminal.notices import tell_notices

NUM_TIMED = 3
"""Outer steps that are timed; the fastest counts, since a machine only ever slows down."""


class Measured(NamedTuple):
    """The programs of meta-training, compiled and tried.

    Attributes:
        compile_seconds: Of the start, an outer step, a pool of `select` and a score, each alone; a
            run compiles a score beside an outer step.
        outer_step_seconds: Wall-clock seconds of an outer step.
        score_seconds: Of a score on `select`.
        carried_bytes: What all inner runs of a device carry from one outer step to the next.
        program_bytes: What an outer step needs beside them on a device, by the compiler.
        free_bytes: What a device had free before the first outer step.
        exchanged_bytes: What a device sums with the others in an outer step.
    """

    compile_seconds: dict[str, float]
    outer_step_seconds: float
    score_seconds: float
    carried_bytes: int
    program_bytes: int
    free_bytes: int
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
    made = measure(experiment.plan, experiment.meta)
    record = {"preset": preset, "device": device_words(), **costs(experiment, made)}
    if as_json:
        console.print_json(json.dumps(record))
    else:
        for line in in_words(record):
            console.print(line, soft_wrap=True, highlight=False)
    return record


def measure(schedule: Plan, meta: MetaProblem) -> Measured:
    """Compiles the programs of meta-training and runs a few outer steps.

    Raises:
        ValueError: The runs or an outer step need more memory than a device has free.
    """
    carried = check_runs_fit(meta.objectives, meta.estimator, meta.data)
    steps = build_steps(meta.target, meta.estimator, schedule)
    data, select_data = replicate((meta.data, meta.select_data), meta.target.mesh)
    key = jax.random.key(0)
    start, start_seconds = timed(lambda: steps.start.lower(data, key, key).compile())
    state = start(data, key, key)
    programs, advance_seconds = timed(lambda: steps.programs(state, data, key))
    needed, available = most_bytes(programs), free_bytes()
    check_fits(needed, available)
    select_data, refresh_seconds = timed(lambda: steps.refresh(select_data, key))
    # The first call compiles.
    both, again = (timed(lambda: steps.score(state.theta, select_data, key))[1] for _ in range(2))
    tried = [timed(lambda: steps.advance(state, data, key))[1] for _ in range(NUM_TIMED)]
    return Measured(
        {
            "start": start_seconds,
            "outer_step": advance_seconds,
            "refresh": refresh_seconds,
            "score": max(both - again, 0.0),
        },
        min(tried),
        again,
        carried,
        needed,
        available,
        max(map(exchanged_bytes, programs)),
    )


def timed(action: Callable[[], Any]) -> tuple[Any, float]:
    """What an action gives, and the seconds until it was there."""
    began = time.perf_counter()
    found = jax.block_until_ready(action())
    return found, time.perf_counter() - began


def costs(experiment: Experiment, made: Measured) -> dict[str, Any]:
    """Memory and time of the whole run, in bytes and seconds."""
    schedule = experiment.plan
    num_matched = sum(search.num_trials is None for search in experiment.searches)
    num_scores = -(-schedule.num_outer_steps // schedule.select_every)
    training = schedule.num_outer_steps * made.outer_step_seconds
    runs = num_compared_runs(experiment)
    compiling = sum(made.compile_seconds.values())
    scoring = num_scores * made.score_seconds
    return {
        "carried_bytes": made.carried_bytes,
        "program_bytes": made.program_bytes,
        "free_bytes": made.free_bytes,
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


def num_compared_runs(experiment: Experiment, meta_steps: int = 0) -> int:
    """Runs of tuning and of the final evaluation, each as long as an inner run.

    Searches of as many inner steps as meta-training took are of `meta_steps`.
    """
    budget, num_rivals = experiment.budget, len(experiment.searches)
    num_trials = sum(search.num_trials or 0 for search in experiment.searches)
    num_finalists = sum(
        min(budget.num_finalists, search.num_trials or budget.num_finalists)
        for search in experiment.searches
    )
    num_final_runs = num_finalists * budget.num_final_runs
    num_matched = sum(search.num_trials is None for search in experiment.searches)
    num_tuned = num_trials * budget.num_runs + num_final_runs
    num_tuned += num_matched * meta_steps // experiment.problem.objective.num_steps
    return num_tuned + (num_rivals + 2) * experiment.num_seeds


def work_in_words(experiment: Experiment) -> str:
    """What a run will do, counted in training steps of classifiers; nothing is compiled."""
    num_steps = experiment.problem.objective.num_steps
    trained = 1 + len(experiment.controls)
    outer_steps = trained * experiment.plan.num_outer_steps
    steps_each = experiment.meta.estimator.num_inner_steps
    runs = num_compared_runs(experiment, outer_steps * steps_each // trained)
    total = outer_steps * steps_each + runs * num_steps
    return (
        f"this takes {outer_steps:,} outer steps of {steps_each:,} inner steps to meta-train, then"
        f" at most {runs:,} runs of {num_steps:,} steps to tune {len(experiment.searches)} rivals"
        f" and to test: {total:,} inner steps; `noiseproof plan` says first how long that is here"
    )


def in_words(record: dict[str, Any]) -> list[str]:
    """The same for a reader."""
    compiling = sum(record["compile_seconds"].values())
    lines = [
        f"{record['preset']} on {record['device']}",
        f"memory of a device: {size(record['carried_bytes'])} of runs, and beside them"
        f" {size(record['program_bytes'])} for an outer step; {size(record['free_bytes'])} free",
        f"compiling: at most {compiling:.1f} s",
        f"meta-training: {record['outer_steps']} outer steps"
        f" of {record['outer_step_seconds']:.3g} s"
        f" and {record['scores']} scores of {record['score_seconds']:.3g} s:"
        f" {record['meta_training_seconds']:.0f} s with compiling",
        f"tuning and tests: {record['compared_runs']} runs, at most about"
        f" {record['comparison_seconds_at_most']:.0f} s and their compiling",
    ]
    if record["exchanged_bytes_per_outer_step"]:
        summed = size(record["exchanged_bytes_per_outer_step"])
        lines.append(f"summed over devices: {summed} an outer step")
    return lines


def size(num_bytes: int) -> str:
    """Bytes in words, with three digits."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.3g} {unit}"
    return f"{num_bytes} B"
