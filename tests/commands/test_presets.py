"""Every preset, shortened: what it leaves in its records."""

import json
from pathlib import Path

import pytest

from noiseproof import cli
from noiseproof.configs import preset_names
from noiseproof.results import read_ledger, read_results, read_summary

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
    settings = [*tiny_settings[1::2], rivals, f"evaluation.corruptions={names}"]
    if experiment == "gaussian":
        settings.append("evaluation.strengths=[0.3, 0.5]")
    folder = tmp_path / "run"
    assert run(preset, folder, *settings) == 0
    rows = read_results(folder / "results.csv")
    assert {row.role for row in rows} == ROLES[experiment]
    assert all(row.calibration_error is not None for row in rows)
    assert read_summary(folder / "summary.json").held_out_improved["adam"].n == 3
    (line,) = read_ledger(folder / "ledger.jsonl")
    assert (line.preset, line.seed) == (preset, 0)


@pytest.mark.slow
def test_an_experiment_with_controls_and_augmentation_is_resumed_where_it_was(
    tiny_settings: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On `select`, which leaves no line in any ledger."""
    folder, ledger = tmp_path / "run", tmp_path / "ledger.jsonl"
    ledger.touch()
    monkeypatch.setenv("NOISEPROOF_LEDGER", str(ledger))
    words = [
        *("run", "gaussian-digits-mlp", "--out", str(folder), *tiny_settings),
        *("--set", 'controls=["clean"]', "--set", 'tuning.augmentations=["augmix"]'),
        *("--set", "evaluation.split=select", "--set", 'tuning.rivals=["adam"]'),
        *("--set", 'tuning.matched_rivals=["adam"]'),
    ]
    assert cli.exit_code(words) == 0
    rows = (folder / "results.csv").read_bytes()
    kinds = {row.optimizer: row.kind for row in read_results(folder / "results.csv")}
    assert kinds == {
        "structured": "learned",
        "structured initial": "initial",
        "structured on clean": "control",
        "adam": "hand",
        "adam matched": "hand",
        "structured with augmix": "augmented",
        "adamw with augmix": "augmented",
    }
    summary = read_summary(folder / "summary.json")
    num_trials = {made.name: made.trials for made in summary.optimizers}
    num_steps = summary.provenance.config["inner"]["num_steps"]
    assert num_trials["adam matched"] == summary.meta_training.inner_steps // num_steps
    assert (folder / "control-clean" / "theta.safetensors").is_file()
    assert ledger.read_text() == ""
    assert not (folder / "ledger.jsonl").exists()
    capsys.readouterr()
    assert cli.exit_code([*words, "--resume"]) == 0
    assert "tuning adam" not in capsys.readouterr().out
    assert (folder / "results.csv").read_bytes() == rows


@pytest.mark.slow
def test_a_look_at_test_images_is_noted_in_a_ledger_that_is_there(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    monkeypatch.setenv("NOISEPROOF_LEDGER", str(ledger))
    weights = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    words = ["train", "digits", "--optimizer", str(tiny_run), "--steps", "5", "--out"]
    assert cli.exit_code([*words, str(weights[0])]) == 0
    assert not ledger.exists()  # none is begun unasked
    ledger.touch()
    assert cli.exit_code([*words, str(weights[1])]) == 0
    (line,) = read_ledger(ledger)
    assert (line.dataset, line.preset) == ("digits", f"train {tiny_run.name}")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("tuning.rivals=['magic']", "tuning.rivals must be among sgd"),
        ("tuning.augmented_rival=magic", "tuning.augmented_rival must be among"),
        ("tuning.augmentations=['magic']", "tuning.augmentations must be among gaussian_noise, "),
        ("controls=['magic']", "magic must be one of clean, gaussian, spectral, families"),
        ("evaluation.strengths=[0.5]", "The evaluation must hold something out"),
    ],
)
def test_what_could_not_be_compared_is_refused_before_anything_is_written(
    setting: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("gaussian-digits-mlp", tmp_path / "run", setting) == 2
    complaint = capsys.readouterr().err
    assert message in complaint
    assert complaint.count("\n") == 1
    assert not (tmp_path / "run").exists()
