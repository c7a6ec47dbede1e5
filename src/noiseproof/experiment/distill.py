"""A learned optimizer as six constants, and how much of its gain they keep."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import msgspec
import numpy as np
from jaxtyping import Float

from noiseproof.evaluate.protocol import as_it_is, judge_all
from noiseproof.evaluate.scoring import TunedOn, run_losses
from noiseproof.evaluate.suites import TestSet
from noiseproof.evaluate.tuning import Budget, Start, tune
from noiseproof.experiment.build import Experiment
from noiseproof.experiment.comparison import provenance
from noiseproof.experiment.contestants import search_key, tuned_contestants, tuned_on
from noiseproof.experiment.progress import SILENT, Progress, corrupting
from noiseproof.experiment.study import experiment_of, task_words
from noiseproof.experiment.tuned import begin
from noiseproof.files import write_whole
from noiseproof.metatrain import recipe_of
from noiseproof.metatrain.sharding import spread
from noiseproof.results import Interval, ratio_interval
from noiseproof.seal import seal, unseal
from noiseproof.studies.ablation import used_rows
from noiseproof.studies.recipe import CONSTANTS, as_optax, distilled, distilled_recipe, fitted
from noiseproof.studies.rule import explain
from noiseproof.types import Recipe
from noiseproof.zoo import load_learned

DISTILLED_FILE = "distilled.json"

SIZES = ("tuning.num_trials=64", 'tuning.rivals=["adam"]', "evaluation.num_seeds=10")
"""Settings of a distillation, over which a user lays their own."""


class Distilled(NamedTuple):
    """A rule of six constants; it prints as a program and what it keeps.

    Attributes:
        constants: By name.
        kept: Shares of the learned optimizer's gain over tuned Adam: of the outer loss on
            `select`, and of the mean accuracy over held-out conditions.
        lines: The program and the shares, in words.
    """

    constants: dict[str, float]
    kept: dict[str, Interval]
    lines: list[str]

    def __str__(self) -> str:
        return "\n".join(self.lines)


def distill(
    optimizer: str | Path,
    *,
    folder: str | Path,
    constants: str | Path | None = None,
    task: str | None = None,
    settings: Sequence[str] = (),
    data_dir: str | Path | None = None,
    tuned: str | Path | None = None,
    seed: int = 0,
    resume: bool = False,
    progress: Progress = SILENT,
) -> Distilled:
    """Fits six constants to a learned optimizer and, from there, by the outer loss.

    Args:
        optimizer: A theta of `structured` or `universal`, as `noiseproof.load` takes it.
        folder: Where `distilled.json` goes; must be new or empty, unless resumed.
        constants: Folder of another distillation, whose constants are judged as they are.
        task: A preset to judge on; None for what it was meta-trained on.
        settings: `section.key=value` over the settings of the task and over `SIZES`, which say how
            many trials a search has, and how many runs and classifiers are judged.
        data_dir: Folder of the data sets.
        tuned: Folder of a run of the same problem, whose settings of Adam are taken over.
        seed: Of searches and runs.
        resume: Whether the folder may hold this distillation already.
        progress: What is told how far it is.

    Raises:
        ValueError: Whatever is wrong, in one line, before anything is written.
    """
    loaded, place, explained = load_learned(optimizer), Path(folder), explain(optimizer)
    given = None if constants is None else constants_in(Path(constants))
    experiment = experiment_of(loaded, str(optimizer), task, [*SIZES, *settings], data_dir)
    search = next((one for one in experiment.searches if one.rival == "adam"), None)
    if search is None:
        raise ValueError("tuning.rivals must have adam, which gains are relative to.")
    num_trials, num_seeds = search.num_trials or 1, experiment.num_seeds
    about = {"distilled": explained.names[0], "constants": given, "seed": seed}
    begin(place, about, experiment, tuned, resume=resume)

    objective, key = experiment.problem.objective, search_key(seed)
    params = jax.eval_shape(experiment.problem.model.init, jax.random.key(0))
    start = fitted(explained, used_rows(objective.layout, params))
    problem = tuned_on(experiment, objective.task)
    (adam,) = tuned_contestants(experiment, [search], "hand", objective.task, place, progress, seed)
    values, trials = given, 0
    if values is None:
        progress.say(f"searching {num_trials} points about the fitted constants")
        budget = Budget(num_trials, experiment.budget.num_runs)
        worth = Start(worth_a_trial=[start])
        tell = partial(progress.part, "searching constants", "runs")
        rival = distilled(start)
        search_found = tune(
            problem, rival, budget, key, name="distilled", start=worth, on_runs=tell
        )
        values, trials = search_found.values, search_found.num_trials
    adam_recipe = adam.trained.recipe_of(adam.knobs, objective.num_steps, objective.layout)
    recipes = {
        "adam": adam_recipe,
        "theta": recipe_of(objective, loaded.theta),
        "fitted": distilled_recipe(start, objective.num_steps, objective.layout),
        "distilled": distilled_recipe(values, objective.num_steps, objective.layout),
    }
    progress.say("judging on select and on held-out conditions")
    losses = {name: select_losses(problem, one, num_seeds, seed) for name, one in recipes.items()}
    sets = experiment.conditions.test_sets(experiment.split, corrupting(progress))
    sets = [one for one in sets if one.role == "held_out"] or sets
    reached = held_out(experiment, sets, recipes, progress, seed)
    split = experiment.record["evaluation"]["split"]
    kept = {}
    for name in ("fitted", "distilled"):
        lost, gained = losses["adam"] - losses[name], losses["adam"] - losses["theta"]
        kept[f"{name}, outer loss on select"] = ratio_interval(lost, gained)
        lost, gained = reached[name] - reached["adam"], reached["theta"] - reached["adam"]
        kept[f"{name}, held-out accuracy on {split}"] = ratio_interval(lost, gained)
    program = as_optax(values)
    record = {
        "name": explained.names[0],
        "task": task_words(experiment),
        "trials": trials,
        "constants": values,
        "fitted": start,
        "adam": dict(adam.knobs),
        "select_losses": {name: own.tolist() for name, own in losses.items()},
        "held_out_accuracies": {name: own.tolist() for name, own in reached.items()},
        "kept": {name: [finite(number) for number in one] for name, one in kept.items()},
        "program": program.splitlines(),
        "provenance": msgspec.to_builtins(
            provenance(experiment.record, {"inner": list(range(num_seeds))})
        ),
    }
    write_whole(place / DISTILLED_FILE, seal(record))
    return Distilled(values, kept, [*program.splitlines(), *map(share_words, kept.items())])


def share_words(named: tuple[str, Interval]) -> str:
    """A share that is kept, in words."""
    name, one = named
    bounds = f"{one.low:.0%} to {one.high:.0%}, 95% interval, "
    if not np.isfinite(one.low):
        bounds = "without bounds, since the gain itself may be none, "
    return f"{name}: {one.mean:.0%} of theta's gain over Adam ({bounds}n = {one.n} seeds)"


def finite(number: float) -> float | None:
    """A number as JSON has it."""
    return float(number) if np.isfinite(number) else None


def constants_in(folder: Path) -> dict[str, float]:
    """The constants that a distillation in a folder found.

    Raises:
        ValueError: There is none, or it is damaged.
    """
    found = unseal(folder / DISTILLED_FILE).get("constants")
    if not isinstance(found, dict) or set(found) != set(CONSTANTS):
        raise ValueError(f"{folder / DISTILLED_FILE} must hold {', '.join(CONSTANTS)}.")
    return {name: float(value) for name, value in found.items()}


def select_losses(
    problem: TunedOn, recipe: Recipe, num_runs: int, seed: int
) -> Float[np.ndarray, " runs"]:
    """Outer losses on fresh pools of `select` under fresh seeds, the same for all recipes."""
    key = jax.random.fold_in(search_key(seed), 1000)
    return run_losses(recipe, problem, problem.select_data, num_runs, key)


def held_out(
    experiment: Experiment,
    sets: Sequence[TestSet],
    recipes: Mapping[str, Recipe],
    progress: Progress,
    seed: int,
) -> dict[str, Float[np.ndarray, " seeds"]]:
    """Mean accuracy over these sets of a classifier for every seed, by the name of its recipe."""
    problem, num_seeds = experiment.problem, experiment.num_seeds
    compiled = partial(progress.part, "compiling optimizers", "programs")
    compiled(0, len(recipes))
    judged = judge_all(
        [as_it_is(problem.objective.task, recipe) for recipe in recipes.values()],
        *(problem.model, problem.data, lambda: sets),
        jax.random.split(jax.random.fold_in(jax.random.key(seed), 3), num_seeds),
        layout=problem.objective.layout,
        num_steps=problem.objective.num_steps,
        num_classes=problem.dataset.num_classes,
        placement=spread(problem.objective.placement, num_seeds),
        on_compiled=compiled,
        on_judged=partial(progress.part, "training classifiers", "optimizers"),
    )
    return {name: one.accuracy.mean(axis=1) for name, one in zip(recipes, judged, strict=True)}
