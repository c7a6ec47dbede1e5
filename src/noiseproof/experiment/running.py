"""An experiment from nothing to its report: meta-train, compare, record."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import msgspec

from noiseproof.checkpoint import save_theta
from noiseproof.data import image_shape
from noiseproof.evaluate.search import estimators
from noiseproof.experiment.build import Experiment
from noiseproof.experiment.comparison import device_words, provenance, run_comparison
from noiseproof.experiment.contestants import MetaTrained
from noiseproof.experiment.meta_problem import MetaProblem
from noiseproof.experiment.meta_trained import CONTROL
from noiseproof.experiment.progress import SILENT, Progress
from noiseproof.experiment.tuned import begin, chosen_in
from noiseproof.metatrain.memory import check_runs_fit
from noiseproof.metatrain.outer_loop import OuterState, meta_train
from noiseproof.metatrain.processes import first_alone, is_first_process, leave
from noiseproof.metatrain.sharding import as_local
from noiseproof.results import Improvement, MetaTraining, Summary
from noiseproof.zoo.cards import LIMITS


def run_experiment(
    experiment: Experiment,
    folder: Path,
    progress: Progress = SILENT,
    *,
    name: str,
    seed: int,
    tuned: Path | None = None,
    resume: bool = False,
    replace: bool = False,
) -> Summary | None:
    """Meta-trains, compares, and writes all records to a folder.

    Of several processes all meta-train, and the first one alone does the rest.

    Args:
        experiment: The experiment.
        folder: Where everything is written; must be new or empty, unless resumed.
        progress: What is told how far it is.
        name: Of the preset, for the records.
        seed: Of meta-training, tuning and the inner runs.
        tuned: Folder of a run of the same problem, whose rivals' settings are taken over.
        resume: Whether to go on with the run in the folder.
        replace: Whether an earlier run in it is deleted first, where it is not resumed.

    Returns:
        The summary of the records; None in all processes but the first.

    Raises:
        ValueError: Whatever is wrong, in one line, before anything is written.
        KeyboardInterrupt: Meta-training was to stop; a checkpoint is written.
    """
    meta = experiment.meta
    if tuned is None:
        estimators()  # before hours of meta-training, not after
    check_runs_fit(meta.objectives, meta.estimator, meta.data)
    about = {"preset": name, "seed": seed}
    first_alone(lambda: begin(folder, about, experiment, tuned, resume=resume, replace=replace))
    words = experiment.problem.outer_loss.words
    learned = learn(experiment, experiment.meta, words, folder, progress, seed=seed, resume=resume)
    save(folder, experiment, learned, {}, name=name, seed=seed)
    controls = []
    for control in experiment.controls:
        place = folder / f"{CONTROL}{control.kind}"
        other = learn(
            experiment, control.meta, control.words, place, progress, seed=seed, resume=resume
        )
        save(place, experiment, other, {}, name=name, seed=seed)
        controls.append((control.kind, control.words, other.theta))
    learned = learned._replace(controls=tuple(controls))
    leave()
    if not is_first_process():
        return None
    summary = run_comparison(experiment, learned, folder, progress, name=name, seed=seed)
    learned = learned._replace(rivals=chosen_in(folder))
    save(folder, experiment, learned, summary.held_out_improved, name=name, seed=seed)
    return summary


def learn(
    experiment: Experiment,
    meta: MetaProblem,
    words: str,
    folder: Path,
    progress: Progress,
    *,
    seed: int,
    resume: bool,
) -> MetaTrained:
    """Meta-trains the rule on the outer loss in `words`, and says what it cost."""
    rule, plan = experiment.record["rule"]["kind"], experiment.plan
    progress.say(f"meta-training {rule} on {words}; it is compiled first")
    with progress.stopping() as should_stop:
        state = meta_train(
            meta.target,
            meta.estimator,
            plan,
            meta.data,
            meta.select_data,
            jax.random.fold_in(jax.random.key(seed), 0),
            folder=folder,
            resume=resume,
            on_program=partial(progress.part, "compiling meta-training", "programs"),
            on_metrics=lambda line: progress.outer_step(line, plan.num_outer_steps),
            should_stop=should_stop,
        )
    theta, initial = map(meta.unflatten, as_local((state.best_theta, state.initial_theta)))
    return MetaTrained(rule, words, theta, initial, cost(state, meta))


def cost(state: OuterState, meta: MetaProblem) -> MetaTraining:
    """What meta-training cost, compiling included."""
    outer_steps, seconds = int(state.outer_step), float(state.seconds)
    inner_steps = outer_steps * meta.estimator.num_inner_steps
    return MetaTraining(
        outer_steps=outer_steps,
        inner_steps=inner_steps,
        seconds=seconds,
        inner_steps_per_second=inner_steps / max(seconds, 1e-9),
        device=device_words(),
    )


def save(
    folder: Path,
    experiment: Experiment,
    learned: MetaTrained,
    improved: Mapping[str, Improvement],
    *,
    name: str,
    seed: int,
) -> None:
    """Writes theta and its card, in the first process."""
    if is_first_process():
        values = card(experiment, learned, improved, name=name, seed=seed)
        save_theta(folder, learned.theta, values)


def card(
    experiment: Experiment,
    learned: MetaTrained,
    improved: Mapping[str, Improvement],
    *,
    name: str,
    seed: int,
) -> dict[str, Any]:
    """What is published beside theta: what it is, what it was trained on, what it reached."""
    record, problem = experiment.record, experiment.problem
    options = {key: value for key, value in record["rule"].items() if key != "kind"}
    model = {key: value for key, value in record["model"].items() if key != "kind"}
    about = [one.task.classification for one in experiment.meta.objectives]
    sizes = [num_weights(one.model) for one in about if one is not None]
    return {
        "rule": learned.rule,
        "options": options,
        "meta_trained_on": learned.words,
        "task": {
            "dataset": problem.dataset.name,
            "image_shape": list(image_shape(problem.dataset)),
            "standardized": record["data"]["standardize"],
            "model": problem.model_name,
            "model_options": model,
            "num_weights": num_weights(problem.model),
            "batch_size": record["inner"]["batch_size"],
        },
        "tasks": record["tasks"],
        **({"num_weights": [min(sizes), max(sizes)]} if record["tasks"] else {}),
        "num_steps": problem.objective.num_steps,
        "results": {
            rival: msgspec.to_builtins(improvement) for rival, improvement in improved.items()
        },
        "rivals": {rival: dict(values) for rival, values in learned.rivals.items()},
        "meta_training": msgspec.to_builtins(learned.cost),
        "license": "Apache-2.0",
        "limits": LIMITS,
        "preset": name,
        "seed": seed,
        "provenance": msgspec.to_builtins(provenance(record, {"meta": [seed]})),
    }


def num_weights(model: Any) -> int:
    """The trained numbers of a classifier."""
    params = jax.eval_shape(model.init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(params))
