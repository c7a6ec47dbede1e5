"""The main job: meta-train, tune the rivals, compare, record, report."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import jax
from rich.console import Console

from noiseproof.checkpoint import save_theta
from noiseproof.commands.plan import check_memory, on_all_devices
from noiseproof.commands.progress import meta_training_progress
from noiseproof.data import image_shape
from noiseproof.experiment.comparison import check_comparison, device_words, run_comparison
from noiseproof.experiment.conditions import check_conditions
from noiseproof.experiment.contestants import Comparison, Control, found_by, take_over
from noiseproof.experiment.folder import claim
from noiseproof.experiment.problem import Problem, build_problem, with_outer_kind
from noiseproof.experiment.settings import Config, as_dict
from noiseproof.experiment.tasks import MetaProblem, build_meta_problem
from noiseproof.metatrain.devices import first_alone, here, is_first_process, leave
from noiseproof.metatrain.outer_loop import OuterState, Plan, check_plan, meta_train
from noiseproof.results import Improvement, MetaTraining, Summary, collect_provenance

LIMITS = (
    "Meta-trained on small tasks: on other data sets, classifiers, run lengths and batch sizes "
    "it may do worse than a tuned hand-designed optimizer; compare before relying on it."
)


def run(
    preset: str,
    config: Config,
    folder: Path,
    console: Console,
    *,
    seed: int,
    data_dir: Path | None = None,
    tuned: Path | None = None,
    resume: bool = False,
    replace: bool = False,
) -> Summary | None:
    """Runs an experiment from nothing to its report.

    Of several processes all meta-train, and the first one alone does the rest.

    Args:
        preset: Name of the preset, for the records.
        config: Its settings.
        folder: Where everything is written; must be new or empty, unless resumed.
        console: Where progress and the table are printed.
        seed: Seed of meta-training, tuning and the inner runs.
        data_dir: Folder of the data sets.
        tuned: Folder of a run of the same problem, whose rivals' settings are taken over.
        resume: Whether to go on with the run in the folder.
        replace: Whether an earlier run in the folder is deleted, where it is not resumed.

    Returns:
        What was found; None in a process that is not the first.

    Raises:
        ValueError: Whatever is wrong, in one line, before anything is written.
        KeyboardInterrupt: Ctrl-C or SIGTERM; during meta-training after a checkpoint.
    """
    check_comparison(config)
    problem = build_problem(config, data_dir)
    check_conditions(config, problem)
    controls = [(kind, *with_outer_kind(config, problem, kind)) for kind in config.controls]
    plan = Plan(**as_dict(config)["meta"])
    check_plan(plan)
    # Before the folder is claimed, since tasks may be wrong.
    trained = [
        build_meta_problem(one, on_all_devices(one, changed), data_dir)
        for _, one, changed in (("", config, problem), *controls)
    ]
    check_memory(config, trained[0])
    found = found_by(tuned, config) if tuned else {}

    def begin() -> None:
        claim(folder, preset, config, seed, resume=resume, replace=replace)
        take_over(found, folder)

    first_alone(begin)

    def learn(config: Config, problem: Problem, trained: MetaProblem, place: Path) -> Comparison:
        rule, words = config.rule.name, problem.outer_loss.words
        console.print(f"meta-training {rule} on {words}", soft_wrap=True)
        state, cost = learn_theta(trained, plan, place, console, seed=seed, resume=resume)
        theta, initial = map(trained.unflatten, here((state.best_theta, state.initial_theta)))
        made = Comparison(preset, config, seed, theta, initial, cost)
        if is_first_process():
            save_theta(place, made.theta, card(made, problem, {}))
        return made

    comparison = learn(config, problem, trained[0], folder)
    others = [
        (kind, learn(other, changed, own, folder / f"control-{kind}"), changed.outer_loss.words)
        for (kind, other, changed), own in zip(controls, trained[1:], strict=True)
    ]
    comparison = comparison._replace(
        controls=tuple(Control(kind, words, made.theta) for kind, made, words in others)
    )
    leave()
    if not is_first_process():
        return None
    summary = run_comparison(comparison, problem, folder, console)
    save_theta(folder, comparison.theta, card(comparison, problem, summary.held_out_improved))
    console.print(f"records and report in {folder}", soft_wrap=True)
    return summary


def learn_theta(
    trained: MetaProblem,
    plan: Plan,
    folder: Path,
    console: Console,
    *,
    seed: int,
    resume: bool,
) -> tuple[OuterState, MetaTraining]:
    """Meta-trains with progress on the console, and says what it cost."""
    with (
        stop_on_signals() as should_stop,
        meta_training_progress(console, plan.num_outer_steps) as show,
    ):
        state = meta_train(
            trained.objective,
            trained.estimator,
            plan,
            trained.data,
            trained.select_data,
            jax.random.fold_in(jax.random.key(seed), 0),
            folder=folder,
            resume=resume,
            on_metrics=show,
            should_stop=should_stop,
        )
    return state, cost(state, trained.estimator.num_inner_steps)


def cost(state: OuterState, num_inner_steps: int) -> MetaTraining:
    """What meta-training cost, compiling included."""
    outer_steps, seconds = int(state.outer_step), float(state.seconds)
    inner_steps = outer_steps * num_inner_steps
    return MetaTraining(
        outer_steps=outer_steps,
        inner_steps=inner_steps,
        seconds=seconds,
        inner_steps_per_second=inner_steps / max(seconds, 1e-9),
        device=device_words(),
    )


def card(
    comparison: Comparison, problem: Problem, improved: Mapping[str, Improvement]
) -> dict[str, Any]:
    """What is published beside theta: what it is, what it was trained on, what it reached."""
    config = comparison.config
    provenance = collect_provenance(
        device=device_words(),
        seeds={"meta": [comparison.seed]},
        arguments=sys.argv,
        config=as_dict(config),
    )
    return {
        "rule": config.rule.name,
        "options": config.rule.options,
        "meta_trained_on": problem.outer_loss.words,
        "task": {
            "dataset": problem.dataset.name,
            "image_shape": list(image_shape(problem.dataset)),
            "model": config.model.name,
            "model_options": config.model.options,
            "batch_size": config.inner.batch_size,
        },
        "tasks": as_dict(config)["tasks"],
        "num_steps": config.inner.num_steps,
        "results": {rival: made._asdict() for rival, made in improved.items()},
        "meta_training": comparison.meta_training._asdict(),
        "license": "Apache-2.0",
        "limits": LIMITS,
        "preset": comparison.preset,
        "seed": comparison.seed,
        "provenance": provenance._asdict(),
    }


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Turns Ctrl-C and SIGTERM into a question that the loop asks; a second Ctrl-C is at once.

    Raises:
        SystemExit: With 130 after Ctrl-C, 143 after SIGTERM, when the loop has stopped.
    """
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    handled = (signal.SIGINT, signal.SIGTERM)
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, note) for number in handled if in_main_thread}
    try:
        yield lambda: bool(received)
    except KeyboardInterrupt:
        raise SystemExit(128 + (received[0] if received else signal.SIGINT)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
