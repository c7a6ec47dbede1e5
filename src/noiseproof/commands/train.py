"""Training one classifier with a learned optimizer, on the console."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from noiseproof.experiment.build import build_experiment
from noiseproof.experiment.meta_trained import (
    check_rule_is_kept,
    judged_alone,
    of_any_length,
    settings_of,
)
from noiseproof.experiment.reading import with_settings
from noiseproof.experiment.training import accuracies, metadata, trained, write_weights
from noiseproof.files import check_writable
from noiseproof.messages import short
from noiseproof.terminal.notices import tell_notices
from noiseproof.terminal.progress import on_console
from noiseproof.zoo import load_learned


def train(
    optimizer: str,
    settings: Sequence[str],
    path: Path,
    console: Console,
    *,
    seed: int,
    data_dir: Path | None = None,
) -> dict[str, float]:
    """Trains a classifier, prints its accuracies and writes its weights.

    Args:
        optimizer: A learned optimizer, as `noiseproof.load` takes it.
        settings: `section.key=value` over the settings that it was meta-trained with.
        path: Where the weights go, as safetensors, with the settings in the file's metadata.
        console: Where the accuracies are printed.
        seed: Fixes initial weights and batches.
        data_dir: Folder of the data sets.

    Returns:
        Accuracy by condition.

    Raises:
        ValueError: Whatever is wrong, in one line, before anything is trained.
        OSError: The file cannot be written, likewise.
    """
    if path.suffix != ".safetensors":
        raise ValueError(f"The weights must be a file .safetensors, got {short(str(path))}.")
    if path.exists():
        raise ValueError(f"The file {path} exists already: choose another with --out.")
    check_rule_is_kept(settings, optimizer)
    loaded = load_learned(optimizer)
    values = judged_alone(settings_of(loaded, optimizer))
    values["window"]["loss_interval"] = 1  # no loss is taken on the way
    wanted = of_any_length(with_settings(values, settings, "settings"))
    experiment = build_experiment(wanted, data_dir)
    check_writable(path)
    tell_notices(experiment.problem.dataset)
    problem = experiment.problem
    num_steps = problem.objective.num_steps
    console.print(f"training {num_steps} steps on {problem.dataset.name}")
    with on_console(console) as progress:
        params = trained(experiment, loaded.theta, progress, seed=seed)
        found = accuracies(experiment, params, progress)
    write_weights(path, params, metadata(experiment, seed))
    for label, accuracy in found.items():
        console.print(f"{label:24s} {accuracy:.4f}")
    num_images = len(experiment.split.labels)
    console.print(f"accuracy of one classifier on {num_images:,} test images; weights in {path}")
    return found
