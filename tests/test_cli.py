import json
import os
import re
import subprocess
import sys
import warnings
import webbrowser
from pathlib import Path

import numpy as np
import pytest
import typer

import noiseproof
from noiseproof import cli
from noiseproof.experiment.meta_trained import of_any_length
from noiseproof.experiment.reading import with_settings
from noiseproof.experiment.settings import Settings, as_dict
from noiseproof.terminal.failures import print_warning
from noiseproof.zoo import shipped_names

PRESET = "gaussian-digits-mlp"


def outcome(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = cli.exit_code(list(words))
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "nothing", "--out", "OUT"], "The preset must be one of .*, got 'nothing'"),
        (["run", PRESET, "--out", "OUT", "--set", "a.b=1"], "has no key 'a'; allowed are"),
        (["run", PRESET, "--out", "OUT", "--set", "inner.num_steps=x"], "must be a whole number"),
        (["run", PRESET, "--out", "OUT", "--set", "inner"], "the form section.key=value"),
        (["run", PRESET, "--out", "OUT", "--seed", "-1"], "--seed"),
        (["run", PRESET, "--out", "OUT", "--seed", "4294967296"], "equal to 4294967295"),
        (["run", PRESET, "--out", "OUT", "--seed", "9223372036854775808"], "equal to 4294967295"),
        (["run", PRESET, "--out", "OUT", "--sed", "1"], "--sed"),
        (["run", PRESET], "--out"),
        (["fly"], "fly"),
        (["run", PRESET, "--out", "OUT", "--set", "data.name=cats"], "cats"),
        (
            ["run", PRESET, "--out", "OUT", "--set", "model.kind=cnn"],
            "kind must be one of mlp",
        ),
        (
            ["run", PRESET, "--out", "OUT", "--set", "model.depth=3"],
            "model has no key 'depth'; allowed are kind, hidden_sizes, norm",
        ),
        (["run", PRESET, "--out", "OUT", "--set", "rule.kind=x"], "rule.kind must be one of"),
        (
            ["run", PRESET, "--out", "OUT", "--set", "estimator.kind=x"],
            "kind must be one of es",
        ),
        (
            ["run", PRESET, "--out", "OUT", "--set", "estimator.truncation=30"],
            "truncation must divide num_steps = 500, got 30",
        ),
        (
            ["run", PRESET, "--out", "OUT", "--set", "estimator.num_pairs=0"],
            "num_pairs must be a whole number >= 1, got 0",
        ),
        (
            ["run", PRESET, "--out", "OUT", "--set", "estimator.std=-1"],
            "std must be .*>= 0.0, got -1",
        ),
        (
            ["run", PRESET, "--out", "OUT", "--set", "outer.std=-1"],
            "std must be .*>= 0.0, got -1",
        ),
        (
            ["run", PRESET, "--out", "OUT", "--set", "meta.num_outer_steps=0"],
            "must be a whole number >= 1, got 0",
        ),
        (
            ["run", PRESET, "--out", "OUT", "--set", 'tuning.rivals=["adan"]'],
            "tuning.rivals must be among sgd, adam, .*, got 'adan'. Did you mean adam",
        ),
        (
            ["run", PRESET, "--out", "OUT", "--set", "evaluation.num_seeds=1"],
            "evaluation.num_seeds must be a whole number >= 2, got 1",
        ),
        (
            ["run", PRESET, "--out", "OUT", "--resume", "--set", "outer.clean=2"],
            "clean must be .*<= 1.0",
        ),
        (["run", "gaussian-fashion-mlp", "--out", "OUT", "--data-dir", "OUT"], "fashion-mnist"),
        (["run", PRESET, "--out", "OUT", "--data", "OUT/none.npz"], r"none\.npz"),
        (["evaluate", "OUT", "--out", "OUT"], "There is no learned optimizer"),
        (
            ["train", "digits", "--optimizer", "OUT", "--out", "OUT/a.safetensors"],
            "There is no learned optimizer",
        ),
        (["train", "--optimizer", "OUT", "--out", "OUT/a"], "Name a data set, .* got neither"),
        (["train", "digits", "--optimizer", PRESET, "--out", "a.pt"], "file .safetensors, got"),
        (["corrupt", "digits", "--data", "a.npz", "--out", "OUT"], "Name a data set, .* not both"),
        (["corrupt", "digits", "--out", "OUT", "--corruptions", "fogg"], "fogg"),
        (["preview", "digits", "--out", "OUT.png", "--image", "9999"], "9999"),
        (["preview", "digits", "--out", "OUT/q.png"], "folder of the sheet must exist"),
        (["report", "OUT"], "The folder .*out is missing"),
        (["report", "OUT", "--metrics"], "The folder .*out is missing"),
        (["list", "birds"], "The kind must be one of presets, datasets"),
        (["fetch", "cats", "--data-dir", "OUT"], "cats"),
        (["fetch", "mnist"], "Name the folder to download to"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NOISEPROOF_DATA", raising=False)
    out = tmp_path / "out"
    code, complaint = outcome(capsys, *(word.replace("OUT", str(out)) for word in words))
    assert code == 2
    assert complaint.count("\n") == 1
    assert re.search(message, complaint)
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["run", "gaussian-digit-mlp", "--out", "OUT"], PRESET),
        (["run", PRESET, "--out", "OUT", "--set", "iner.num_steps=5"], "inner"),
        (["run", PRESET, "--out", "OUT", "--set", "inner.num_step=5"], "num_steps"),
        (["run", PRESET, "--out", "OUT", "--set", "rule.kind=structred"], "structured"),
        (["run", PRESET, "--out", "OUT", "--set", "data.name=digit"], "digits"),
        (["run", PRESET, "--out", "OUT", "--set", 'tuning.rivals=["adamm"]'], "adam"),
        (["run", "families-fashion-mlp", "--out", "OUT", "--set", "outer.fold=fold1"], "fold_1"),
        (["evaluate", "spectral-fashon-mlp", "--out", "OUT"], "spectral-fashion-mlp"),
        (["corrupt", "digits", "--out", "OUT", "--corruptions", "gausian_noise"], "gaussian_noise"),
        (["fetch", "fashon-mnist", "--data-dir", "OUT"], "fashion-mnist"),
        (["list", "preset"], "presets"),
        (["rnu"], "run"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_name_that_was_meant_is_offered(
    words: list[str],
    meant: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    small_data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches a list of names whose message forgets the nearest one."""
    monkeypatch.setenv("NOISEPROOF_DATA", str(small_data_dir))
    code, complaint = outcome(capsys, *(w.replace("OUT", str(tmp_path / "out")) for w in words))
    assert code == 2
    assert re.search(rf"[Dd]id you mean \W?{meant}\W", complaint), complaint
    assert complaint.count("\n") == 1
    assert len(complaint) < 500


@pytest.mark.parametrize("command", ["run", "demo", "train", "evaluate", "report", "list", "fetch"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.exit_code([command, "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"noiseproof {command}" in printed or f"{command} [OPTIONS]" in printed


def test_alone_it_shows_four_examples_that_are_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Catches an example whose command or option was renamed."""
    assert cli.exit_code([]) == 0
    lines = capsys.readouterr().out.splitlines()
    examples = [line.split()[1:] for line in lines if line.startswith("    noiseproof ")]
    assert [words[0] for words in examples] == ["train", "evaluate", "run", "corrupt"]
    group = typer.main.get_command(cli.app)
    for words in examples:
        assert group.commands[words[0]].make_context(words[0], words[1:]).params


def test_every_setting_is_listed_with_its_default_and_meaning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Catches a setting without a meaning, and a default that is not the one that runs take."""
    assert cli.exit_code(["settings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(meaning.startswith("    ") and meaning.strip() for meaning in lines[1::2])
    values = as_dict(Settings())
    for section, value in values.items():
        for key, default in value.items() if isinstance(value, dict) else [("", value)]:
            place = f"{section}.{key}".rstrip(".")
            written = f"^{re.escape(place)}=(\\S.*?)  \\("
            defaults = re.findall(written, "\n".join(lines[::2]), re.M)
            assert ("none" if default is None else json.dumps(default)) in defaults, place
    assert cli.exit_code(["settings", "pool"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.partition("=")[0] for line in shown[::2]] == ["pool.size", "pool.batch_size"]
    assert "whole number from 1 to 1,000,000" in shown[0]


def test_the_page_is_opened_where_that_is_asked_for(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert cli.exit_code(["report", str(tiny_run)]) == 0
    assert cli.exit_code(["report", str(tiny_run), "--open"]) == 0
    assert opened == [(tiny_run / "report.html").as_uri()]


def test_names_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.exit_code(["list"]) == 0
    everything = capsys.readouterr().out
    assert "rivals: sgd adam adamw" in everything
    assert cli.exit_code(["list", "presets"]) == 0
    assert PRESET in capsys.readouterr().out.splitlines()


def test_the_zoo_is_listed_with_what_each_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.exit_code(["list", "zoo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == shipped_names()
    for line in lines:
        assert re.search(
            r": meta-trained on .*; for (\w+ of [\d,]+ weights on .* images, about|"
            r"classifiers of many kinds and sizes \(meta-trained on \d+ small ones of [\d,]+ to "
            r"[\d,]+ weights\), "
            r"runs of [\d,]+ to) [\d,]+ steps; "
            r"[+-][\d.]+ ± [\d.]+ points against \w+, the strongest of \d+ tuned rivals, "
            r"over \d+ held-out conditions \(n = \d+\)$",
            line,
        )


def test_what_would_be_in_vain_is_refused_before_it_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches training whose end is that images are too small to corrupt, or that the weights have
    no place; a picture that is drawn over; and a run whose length meta-training could not cut.
    """
    labels = np.arange(42) % 2
    images = np.random.default_rng(0).integers(0, 255, (42, 2, 2), np.uint8)
    tiny, out = tmp_path / "tiny.npz", tmp_path / "out"
    np.savez(tiny, x_train=images, y_train=labels, x_test=images, y_test=labels)
    words = ["--optimizer", "universal", "--out", f"{out}.safetensors"]
    code, said = outcome(capsys, "train", "--data", str(tiny), *words)
    assert (code, out.exists()) == (2, False)
    assert "at least 8 pixels wide and high, got 2×2" in said
    code, said = outcome(capsys, "evaluate", "universal", "--data", str(tiny), "--out", str(out))
    assert (code, out.exists()) == (2, False)
    assert "at least 8 pixels" in said
    words[-1] = str(tiny / "a.safetensors")
    code, said = outcome(capsys, "train", "digits", *words)
    assert code == 1
    assert said.startswith("noiseproof: [Errno")
    tiny.with_suffix(".png").write_bytes(b"mine")
    code, said = outcome(capsys, "preview", "digits", "--out", str(tiny.with_suffix(".png")))
    assert (code, "exists already: choose another" in said) == (2, True)
    shorter = of_any_length(with_settings({}, ["inner.num_steps=60"], "settings"))
    assert (shorter.inner.num_steps, getattr(shorter.estimator, "truncation", 60)) == (60, 60)


def test_corrupted_files_and_a_sheet_are_written(tmp_path: Path) -> None:
    words = ["corrupt", "digits", "--out", str(tmp_path / "c"), "--corruptions", "fog, contrast"]
    assert cli.exit_code([*words, "--limit", "7"]) == 0
    assert np.load(tmp_path / "c" / "fog.npy").shape == (35, 8, 8, 1)
    assert {path.name for path in (tmp_path / "c").glob("*.npy")} == {
        "fog.npy",
        "contrast.npy",
        "labels.npy",
    }
    words = ["preview", "digits", "--out", str(tmp_path / "a.png"), "--corruptions", "fog"]
    assert cli.exit_code(words) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_and_the_module_say_their_version() -> None:
    for words in (["noiseproof"], ["-m", "noiseproof"]):
        program = [sys.executable, *words] if words[0] == "-m" else [f"{sys.prefix}/bin/noiseproof"]
        done = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"noiseproof {noiseproof.__version__}\n"


def test_the_data_folder_may_come_from_the_environment(tmp_path: Path) -> None:
    environment = {**os.environ, "NOISEPROOF_DATA": str(tmp_path / "here")}
    words = ["-m", "noiseproof", "run", "gaussian-fashion-mlp", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 2
    assert "here" in done.stderr
    assert done.stderr.count("\n") == 1


def test_notices_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    before = warnings.showwarning
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = print_warning
            warnings.warn("something is odd", stacklevel=1)
    finally:
        warnings.showwarning = before
    assert capsys.readouterr().err == "noiseproof: notice: something is odd\n"
