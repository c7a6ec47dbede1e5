"""Every preset, shortened: what it leaves in its records."""

import json
from pathlib import Path

import pytest

from noiseproof import cli
from noiseproof.experiment.reading import preset_names
from noiseproof.results import read_record, read_summary

CORRUPTIONS = {
    "gaussian": (),
    "spectral": ("gaussian_noise", "speckle_noise", "contrast"),
    "families": ("gaussian_noise", "contrast"),
}
ROLES = {
    "gaussian": {"clean", "meta_train", "held_out"},
    "spectral": {"clean", "meta_train", "kin", "validation", "held_out"},
    "families": {"clean", "meta_train", "held_out"},
}


def run(preset: str, folder: Path, *settings: str) -> int:
    words = [word for setting in settings for word in ("--set", setting)]
    return cli.exit_code(["run", preset, "--out", str(folder), *words])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* is not the official file")
@pytest.mark.parametrize("preset", [name for name in preset_names() if "digits" not in name])
def test_a_preset_runs_shortened(
    preset: str,
    small_data_dir: Path,
    tiny_settings: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NOISEPROOF_DATA", str(small_data_dir))
    experiment = preset.partition("-")[0]
    names = json.dumps(CORRUPTIONS[experiment])
    rivals = 'tuning.rivals=["adam"]'
    settings = [*tiny_settings[1::2], rivals]
    if experiment != "gaussian":
        settings.remove("conditions.strengths=[0.3, 0.5]")
        settings.append(f"conditions.corruptions={names}")
    folder = tmp_path / "run"
    assert run(preset, folder, *settings) == 0
    record = read_record(folder)
    assert {condition.role for condition in record.run.conditions} == ROLES[experiment]
    assert read_summary(folder / "summary.json").held_out_improved["adam"].n == 3


@pytest.mark.slow
def test_an_experiment_with_controls_and_augmentation_is_resumed_where_it_was(
    tiny_settings: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    words = [
        *("run", "gaussian-digits-mlp", "--out", str(folder), *tiny_settings),
        *("--set", 'controls=["clean"]', "--set", 'tuning.augmentations=["augmix"]'),
        *("--set", "evaluation.split=select", "--set", 'tuning.rivals=["adam"]'),
        *("--set", 'tuning.matched_rivals=["adam"]'),
        *("--set", 'tuning.augmented_rivals=["adamw"]'),
    ]
    assert cli.exit_code(words) == 0
    numbers = (folder / "results.npz").read_bytes()
    found = read_record(folder).run
    assert {entry.name: entry.kind for entry in found.optimizers} == {
        "structured": "learned",
        "structured initial": "initial",
        "structured on clean": "control",
        "adam": "hand",
        "adam matched": "hand",
        "structured with augmix": "augmented",
        "adamw with augmix": "augmented",
    }
    num_trials = {entry.name: entry.trials for entry in found.optimizers}
    # Two runs a trial; a search whose best point lies on an edge goes on for a quarter.
    usual = found.meta_training.inner_steps // (2 * found.num_steps)
    assert usual <= num_trials["adam matched"] <= 1.25 * usual
    assert (folder / "control-clean" / "theta.safetensors").is_file()
    capsys.readouterr()
    assert cli.exit_code([*words, "--resume"]) == 0
    assert "tuning adam" not in capsys.readouterr().out
    assert (folder / "results.npz").read_bytes() == numbers
