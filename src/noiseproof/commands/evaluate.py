"""A learned optimizer as it is, against rivals tuned on the same data with the stated budget."""

from collections.abc import Sequence
from pathlib import Path

import jax
from rich.console import Console

from noiseproof.experiment.comparison import check_comparison, run_comparison
from noiseproof.experiment.conditions import check_conditions
from noiseproof.experiment.contestants import Comparison
from noiseproof.experiment.folder import claim
from noiseproof.experiment.problem import build_problem
from noiseproof.experiment.settings import with_settings
from noiseproof.results import MetaTraining, Summary
from noiseproof.zoo import load_learned


def evaluate(
    optimizer: str,
    settings: Sequence[str],
    folder: Path,
    console: Console,
    *,
    seed: int,
    data_dir: Path | None = None,
) -> Summary:
    """Compares a learned optimizer with rivals; writes records and report.

    Args:
        optimizer: A learned optimizer, as `noiseproof.load` takes it.
        settings: `section.key=value` over the settings that it was meta-trained with.
        folder: Where records and report go; must be new or empty.
        console: Where progress and the table are printed.
        seed: Seed of tuning and the inner runs.
        data_dir: Folder of the data sets.

    Raises:
        ValueError: Whatever is wrong, in one line, before anything is written.
    """
    loaded = load_learned(optimizer)
    try:
        values = dict(loaded.card["provenance"]["config"])
        cost = MetaTraining(**loaded.card["meta_training"])
    except (KeyError, TypeError):
        raise ValueError(f"The card of {optimizer} does not say how it was meta-trained.") from None
    for setting in settings:
        if setting.partition("=")[0].split(".")[0].strip() in ("rule", "controls"):
            raise ValueError(f"The rule comes with {optimizer} and cannot be set, got {setting}.")
    meta_trained = with_settings(values, [], "settings")
    config = with_settings({**values, "controls": []}, settings, "settings")
    check_comparison(config)
    problem = build_problem(config, data_dir)
    check_conditions(config, problem, meta_trained)
    claim(folder, f"evaluate {Path(optimizer).name}", config, seed)
    comparison = Comparison(
        preset=loaded.card["preset"],
        config=config,
        seed=seed,
        theta=loaded.theta,
        initial_theta=loaded.learned.init(jax.random.key(seed)),
        meta_training=cost,
    )
    return run_comparison(comparison, problem, folder, console)
