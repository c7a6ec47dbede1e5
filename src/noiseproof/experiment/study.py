"""A study of a learned optimizer: from its name to records and a page."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from noiseproof.data import image_shape
from noiseproof.evaluate.protocol import Contestant
from noiseproof.evaluate.suites import TestSet
from noiseproof.experiment.build import Experiment, build_experiment
from noiseproof.experiment.comparison import condition, finite, provenance
from noiseproof.experiment.contestants import tuned_contestants
from noiseproof.experiment.meta_trained import (
    check_rule_is_kept,
    judged_alone,
    of_any_length,
    settings_of,
)
from noiseproof.experiment.progress import SILENT, Progress, corrupting
from noiseproof.experiment.reading import load_preset, with_settings
from noiseproof.experiment.study_arrays import (
    Parts,
    by_family,
    clean_and_middle,
    families_of,
    labels,
    of_lengths,
    parts_of,
    stacked,
    studied,
    wave_norm,
)
from noiseproof.experiment.tuned import begin
from noiseproof.metatrain import recipe_of
from noiseproof.report.study_page import write_study_page
from noiseproof.results import OptimizerEntry, Study, StudyRecord, write_study
from noiseproof.rivals import RIVALS
from noiseproof.studies.ablation import ablated, used_rows
from noiseproof.studies.rule import ROWS, Explanation, explain, rows_of
from noiseproof.zoo import Loaded, load_learned

SMALL = (
    "evaluation.num_seeds=5",
    "evaluation.num_images=500",
    'tuning.rivals=["adam", "muon", "decayed_muon"]',
    "tuning.num_trials=16",
    "tuning.num_finalists=4",
)
"""Settings of a study, over which a user lays their own."""

LENGTHS = (0.25, 0.5)
"""Shares of a run that classifiers are trained for, too."""


class Studied(NamedTuple):
    """What a study found; it prints as the rule's equation and numbers, and the page's path.

    Attributes:
        record: All numbers, see `docs/records.md`.
        page: The page that was made of them.
    """

    record: StudyRecord
    page: Path

    def __str__(self) -> str:
        return "\n".join([*self.record.about.equation, str(self.page)])


class Shown(NamedTuple):
    """An optimizer of a study: its entry in the records, and how it trains runs of any length."""

    entry: OptimizerEntry
    recipe: Any


def study(
    optimizer: str | Path,
    *more: str | Path,
    folder: str | Path,
    task: str | None = None,
    settings: Sequence[str] = (),
    data_dir: str | Path | None = None,
    tuned: str | Path | None = None,
    seed: int = 0,
    resume: bool = False,
    progress: Progress = SILENT,
) -> Studied:
    """Trains a few classifiers with a learned optimizer and with rivals, and looks into all.

    Args:
        optimizer: A shipped name, the folder of a run, or a `.safetensors` file.
        more: Other thetas of the same rule, such as those of other meta-seeds, whose rates are
            shown as a spread.
        folder: Where records and page go; must be new or empty, unless resumed.
        task: A preset to train on; None for what it was meta-trained on.
        settings: `section.key=value` over the settings of the task and over `SMALL`: so few seeds,
            images and trials of Adam, Muon and `decayed_muon` suffice for minutes.
        data_dir: Folder of the data sets.
        tuned: Folder of a run of the same problem, whose rivals' settings are taken over.
        seed: Of searches and runs.
        resume: Whether to go on after the searches in the folder that were finished.
        progress: What is told how far it is.

    Raises:
        ValueError: Whatever is wrong, in one line, before anything is written.
    """
    loaded, place = load_learned(optimizer), Path(folder)
    is_explained = set(ROWS) <= set(loaded.theta)
    explained = explain(optimizer, *more) if is_explained or more else None
    experiment = experiment_of(loaded, str(optimizer), task, [*SMALL, *settings], data_dir)
    name = explained.names[0] if explained else Path(optimizer).name
    begin(place, {"study": name, "seed": seed}, experiment, tuned, resume=resume)

    sets = experiment.conditions.test_sets(experiment.split, corrupting(progress))
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 3), experiment.num_seeds)
    parts = parts_of(experiment.problem, sets, keys)
    everyone = [
        *learned_ones(experiment, loaded, Path(optimizer), name, seed),
        *tuned_ones(experiment, place, progress, seed),
    ]
    rows = []
    for shown in everyone:
        progress.part("training and probing classifiers", "optimizers", len(rows), len(everyone))
        progress.say(f"training and probing classifiers of {shown.entry.name}")
        rows.append(arrays_of(parts, shown))
    arrays, axes = stacked(rows), labels(parts, rows[0])
    axes["lengths"] = [*(float(length) for length in LENGTHS), 1.0]
    axes["sides"] = ["clean", "corrupted"]
    axes["optimizers"] = [shown.entry.name for shown in everyone]
    axes["conditions"] = [label_of(one) for one in sets]
    if explained is not None:
        params = jax.eval_shape(experiment.problem.model.init, jax.random.key(0))
        used = used_rows(experiment.problem.objective.layout, params)
        axes |= {"thetas": list(explained.names), "fractions": explained.fractions.tolist()}
        axes["rates"], arrays["rates"] = used_rates(explained, used)
        variants = ablated(loaded.theta, used)
        progress.say(f"training classifiers of {len(variants)} variants of theta")
        axes["variants"], axes["families"] = list(variants), list(families_of(sets))
        tell = partial(progress.part, "training variants of theta", "variants")
        arrays["ablation"] = by_family(parts, list(variants.values()), tell)
    record = StudyRecord(
        Study(
            name=name,
            rule=str(loaded.card["rule"]),
            meta_trained_on=str(loaded.card.get("meta_trained_on", "unknown")),
            task=task_words(experiment),
            num_steps=experiment.problem.objective.num_steps,
            num_images=len(sets[0].batch.labels),
            num_classes=experiment.problem.dataset.num_classes,
            wave_norm=wave_norm(experiment.problem),
            optimizers=[shown.entry for shown in everyone],
            conditions=[condition(one) for one in sets],
            axes=axes,
            equation=list(explained.lines()) if explained else [],
            provenance=provenance(experiment.record, {"inner": list(range(len(keys)))}),
        ),
        arrays,
    )
    write_study(place, record)
    return Studied(record, write_study_page(place))


def experiment_of(
    loaded: Loaded,
    name: str,
    task: str | None,
    settings: Sequence[str],
    data_dir: str | Path | None,
) -> Experiment:
    """What classifiers are trained on, with the rule of a learned optimizer.

    Raises:
        ValueError: A setting is wrong, or images of the task have other channels than those of
            meta-training.
    """
    check_rule_is_kept(settings, name)
    base = settings_of(loaded, name) if task is None else load_preset(task)
    values = judged_alone(base)
    values["tuning"] |= {"matched_rivals": [], "augmentations": []}
    rule = {"kind": loaded.card["rule"], **loaded.card["options"]}
    wanted = of_any_length(with_settings({**values, "rule": rule}, settings, "settings"))
    experiment = build_experiment(wanted, None if data_dir is None else Path(data_dir))
    own = list(loaded.card.get("task", {}).get("image_shape", []))
    shape = list(image_shape(experiment.problem.dataset))
    if own and own[2] != shape[2]:
        raise ValueError(
            f"{name} was meta-trained on images of {own[2]} channels, and those of the task have "
            f"{shape[2]}: choose a task of the same kind of images."
        )
    return experiment


def learned_ones(
    experiment: Experiment, loaded: Loaded, place: Path, name: str, seed: int
) -> list[Shown]:
    """The learned optimizer, itself before meta-training, and its control on clean images."""
    objective, words = experiment.problem.objective, str(loaded.card.get("meta_trained_on", "-"))

    def shown(label: str, kind: Any, words: str, theta: Any) -> Shown:
        entry = OptimizerEntry(name=label, kind=kind, tuned_on=words, trials=0)
        return Shown(entry, lambda steps: recipe_of(objective._replace(num_steps=steps), theta))

    found = [
        shown(name, "learned", words, loaded.theta),
        shown("initial theta", "initial", "none", loaded.learned.init(jax.random.key(seed))),
    ]
    control = place / "control-clean"
    if control.is_dir():
        other = load_learned(control)
        words = str(other.card.get("meta_trained_on", "clean images"))
        found.append(shown("on clean images", "control", words, other.theta))
    return found


def tuned_ones(experiment: Experiment, folder: Path, progress: Progress, seed: int) -> list[Shown]:
    """The rivals, as searches in the folder found them or as new ones do."""
    objective, searches = experiment.problem.objective, experiment.searches
    found = tuned_contestants(experiment, searches, "hand", objective.task, folder, progress, seed)

    def shown(one: Contestant) -> Shown:
        entry = OptimizerEntry(
            name=one.name,
            kind="hand",
            tuned_on=one.tuned_on,
            trials=one.tuned.num_trials if one.tuned else 0,
            outer_loss=finite(one.outer_loss),
            settings={knob: float(value) for knob, value in one.knobs.items()},
        )
        rival = RIVALS[one.name]
        return Shown(entry, lambda steps: rival.recipe(one.knobs, steps, objective.layout))

    return [shown(one) for one in found]


def used_rates(
    explained: Explanation, used: Mapping[str, Sequence[int]]
) -> tuple[list[str | float], np.ndarray]:
    """The rates that a classifier's tensors take: their labels, and their curves."""
    found: list[str | float] = []
    curves = []
    for group, rows in used.items():
        each = 3 if group == "bands" else 1
        for at in (each * row + band for row in rows for band in range(each)):
            found.append(f"{group}: {rows_of(group)[1][at]}")
            curves.append(explained.curves[group][:, at])
    return found, np.stack(curves, axis=1)


def arrays_of(parts: Parts, shown: Shown) -> dict[str, np.ndarray]:
    """All numbers of one optimizer, shorter runs among them."""
    num_steps = parts.problem.objective.num_steps
    found = studied(parts, shown.recipe(num_steps))
    lengths = [max(round(share * num_steps), 1) for share in LENGTHS]
    shorter = of_lengths(parts, shown.recipe, lengths)
    found["by_length"] = np.stack([*shorter, clean_and_middle(parts, found["accuracy"])])
    return found


def label_of(test_set: TestSet) -> str:
    """A condition as the label of an axis."""
    size = test_set.strength if test_set.severity is None else test_set.severity
    return test_set.corruption if size is None else f"{test_set.corruption} {size:g}"


def task_words(experiment: Experiment) -> str:
    """Data set, image shape and classifier in words."""
    problem = experiment.problem
    shape = "x".join(map(str, image_shape(problem.dataset)))
    return f"{problem.dataset.name} {shape}, {problem.model_name}"
