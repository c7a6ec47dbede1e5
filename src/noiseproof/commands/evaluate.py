"""A learned optimizer as it is, against rivals tuned on the same data with the stated budget."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from noiseproof.commands.plan import num_compared_runs
from noiseproof.data import image_shape
from noiseproof.evaluate.search import estimators
from noiseproof.experiment.build import build_experiment, check_held_out
from noiseproof.experiment.comparison import run_comparison
from noiseproof.experiment.contestants import MetaTrained
from noiseproof.experiment.meta_trained import (
    check_rule_is_kept,
    controls_of,
    judged_alone,
    of_any_length,
    settings_of,
)
from noiseproof.experiment.reading import converted, with_settings
from noiseproof.experiment.settings import as_dict
from noiseproof.experiment.tuned import (
    PROBLEM,
    begin,
    check_same_problem,
    check_values,
    chosen_in,
)
from noiseproof.metatrain.sharding import use_all_cores
from noiseproof.published import find
from noiseproof.results import MetaTraining, Summary
from noiseproof.terminal.notices import tell_notices
from noiseproof.terminal.progress import on_console
from noiseproof.zoo import load_learned


def transferred_rivals(
    card: dict[str, Any], optimizer: str, meta_trained: dict[str, Any], source: Path | None
) -> dict[str, dict[str, float]]:
    """Settings of rivals that were tuned on what an optimizer was meta-trained on.

    Raises:
        ValueError: The folder is no run on the same problem, or the settings are not the rivals'.
    """
    if source is not None:
        check_same_problem(source, meta_trained, PROBLEM)
        return chosen_in(source)
    rivals = card.get("rivals") or {}
    for name, values in rivals.items():
        check_values(name, values, f"The card of {optimizer}")
    return rivals


def evaluate(
    optimizer: str,
    settings: Sequence[str],
    folder: Path,
    console: Console,
    *,
    seed: int,
    data_dir: Path | None = None,
    transferred: Path | None = None,
    tuned: Path | None = None,
    resume: bool = False,
    corrupted: Path | None = None,
) -> Summary:
    """Compares a learned optimizer with rivals; writes records and report.

    Args:
        optimizer: A learned optimizer, as `noiseproof.load` takes it; that of a run's folder is
            judged beside the controls of the run.
        settings: `section.key=value` over the settings that it was meta-trained with.
        folder: Where records and report go; must be new or empty, unless resumed.
        console: Where progress and the table are printed.
        seed: Seed of tuning and the inner runs.
        data_dir: Folder of the data sets.
        transferred: Folder of a run on what theta was meta-trained on, whose rivals are shown as
            they were tuned there; None for those of the card.
        tuned: Folder of a run of the same problem, whose rivals' settings are taken over.
        resume: Whether to go on after the searches in the folder that were finished.
        corrupted: A folder in the layout of CIFAR-10-C or MNIST-C to be tested on, too.

    Raises:
        ValueError: Whatever is wrong, in one line, before anything is written.
    """
    use_all_cores()
    if tuned is None:
        estimators()
    loaded = load_learned(optimizer)
    meta_trained = settings_of(loaded, optimizer)
    check_rule_is_kept(settings, optimizer)
    values = judged_alone(meta_trained)
    wanted = of_any_length(with_settings(values, settings, "settings"))
    experiment = build_experiment(wanted, data_dir, corrupted)
    tell_notices(experiment.problem.dataset)
    check_held_out(wanted, meta_trained, image_shape(experiment.problem.dataset)[2])
    rivals = transferred_rivals(loaded.card, optimizer, as_dict(meta_trained), transferred)
    if all(experiment.record[name] == as_dict(meta_trained)[name] for name in PROBLEM):
        rivals = {}  # what was tuned there was tuned here
    place = f"The card of {optimizer}"
    about = {"preset": f"evaluate {Path(optimizer).name}", "seed": seed}
    begin(folder, about, experiment, tuned, resume=resume)
    learned = MetaTrained(
        rule=loaded.card["rule"],
        words=converted(loaded.card["meta_trained_on"], str, f"{place}.meta_trained_on"),
        theta=loaded.theta,
        initial_theta=loaded.learned.init(jax.random.key(seed)),
        controls=controls_of(find(optimizer).parent),
        rivals=rivals,
        cost=converted(loaded.card["meta_training"], MetaTraining, f"{place}.meta_training"),
    )
    runs = num_compared_runs(experiment, learned.cost.inner_steps)
    steps = experiment.problem.objective.num_steps
    console.print(
        f"this takes at most {runs:,} runs of {steps:,} steps to tune {len(experiment.searches)}"
        " rivals and to test",
        soft_wrap=True,
        highlight=False,
    )
    num_runs = 0 if tuned or resume else runs
    with on_console(console, num_runs) as progress:
        return run_comparison(
            experiment, learned, folder, progress, name=str(loaded.card["preset"]), seed=seed
        )
