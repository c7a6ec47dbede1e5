"""Studies and distillations from the command line: what they leave, and what they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest

from noiseproof import cli
from noiseproof.results import read_study
from noiseproof.results.study import ARRAYS
from noiseproof.seal import unseal

SHORT = ("evaluation.num_seeds=2", "evaluation.num_images=40", 'tuning.rivals=["adam"]')
SHORTER = [word for setting in SHORT for word in ("--set", setting)]


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.exit_code(words) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert len(complaint) < 500
    return complaint


@pytest.mark.parametrize("command", ["study", "distill"])
def test_what_is_no_learned_optimizer_is_refused(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("nobody", str(tmp_path)):
        words = [command, name, "--out", str(tmp_path / "out")]
        assert "There is no learned optimizer" in refused(words, capsys)
    assert not (tmp_path / "out").exists()


def test_a_task_of_other_images_is_refused(
    tmp_path: Path, small_data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study", "gaussian-digits-mlp", "--task", "spectral-cifar-convnet"]
    words += ["--data-dir", str(small_data_dir), "--out", str(tmp_path / "out"), *SHORTER]
    complaint = refused(words, capsys)
    assert "meta-trained on images of 1 channels, and those of the task have 3" in complaint
    words[3] = "spectral"
    assert "The preset must be one of" in refused(words, capsys)
    assert not (tmp_path / "out").exists()


def test_a_study_leaves_records_and_a_page(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches an array that no optimizer has, and pages that need more than the records."""
    out = tmp_path / "study"
    words = ["study", str(tiny_run), "gaussian-digits-mlp", "--out", str(out), *SHORTER]
    assert cli.exit_code([*words, "--tuned", str(tiny_run)]) == 0, capsys.readouterr().err
    assert "of the rule structured" in capsys.readouterr().out
    record = read_study(out)
    assert set(record.arrays) == set(ARRAYS)
    assert [one.kind for one in record.about.optimizers] == ["learned", "initial", "hand"]
    assert record.about.optimizers[2].trials == 3
    assert record.arrays["rates"].shape[0] == 2
    assert all(np.isfinite(array).all() for array in record.arrays.values())
    # As learned is trained under the seeds of the study, too.
    middle = record.arrays["by_length"][0, -1, 0]
    np.testing.assert_allclose(record.arrays["ablation"][0, 0], middle, atol=1e-6)
    page = (out / "study.html").read_bytes()
    (out / "study.html").unlink()
    assert cli.exit_code(["report", str(out)]) == 0
    assert (out / "study.html").read_bytes() == page
    assert "is in use" in refused(words, capsys)


def test_a_distillation_says_what_it_keeps(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = tmp_path / "one", tmp_path / "two"
    words = ["distill", str(tiny_run), *SHORTER, "--set", "tuning.num_trials=3"]
    words += ["--tuned", str(tiny_run)]
    assert cli.exit_code([*words, "--out", str(out)]) == 0, capsys.readouterr().err
    assert "of theta's gain over Adam (" in capsys.readouterr().out
    record = unseal(out / "distilled.json")
    assert len(record["constants"]) == 6
    assert len(record["program"]) <= 20
    assert {len(losses) for losses in record["select_losses"].values()} == {2}
    given = ["--out", str(again), "--constants", str(out)]
    assert cli.exit_code([*words, *given]) == 0, capsys.readouterr().err
    other = unseal(again / "distilled.json")
    assert other["trials"] == 0
    for name in ("constants", "select_losses", "held_out_accuracies", "kept"):
        assert json.dumps(other[name]) == json.dumps(record[name]), name
