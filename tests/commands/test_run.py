import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

import noiseproof
from noiseproof import cli
from noiseproof.checkpoint import load_theta
from noiseproof.results import (
    READERS,
    accuracies,
    nested_violations,
    places,
    read_record,
    read_run,
    read_summary,
)

RECORDS = ("run.json", "results.npz", "metrics.jsonl", "summary.json")


@pytest.fixture
def own_images(tmp_path: Path) -> Path:
    """Random color images of four classes, as a user's own."""
    generator = np.random.default_rng(0)
    file = tmp_path / "own images.npz"
    np.savez(
        file,
        x_train=generator.integers(0, 256, (200, 9, 9, 3), dtype=np.uint8),
        y_train=np.arange(200, dtype=np.uint8) % 4,
        x_test=generator.integers(0, 256, (40, 9, 9, 3), dtype=np.uint8),
        y_test=np.arange(40, dtype=np.uint8) % 4,
    )
    return file


def test_a_run_leaves_all_its_records(tiny_run: Path) -> None:
    for name in (*RECORDS, "theta.safetensors", "theta.json", "report.html", "config.json"):
        assert (tiny_run / name).stat().st_size > 0, name
    for name in RECORDS:
        assert READERS[name](tiny_run / name)


@pytest.mark.parametrize("words", [["run", "gaussian-digits-mlp", "--out", "x"], ["demo"]])
def test_a_run_makes_devices_of_the_cores_before_jax_begins(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches meta-training that leaves all cores but one idle."""
    began: list[str] = []

    def build(*_: object) -> None:
        began.append("build")
        raise ValueError("enough")

    monkeypatch.setattr("noiseproof.commands.run.use_all_cores", lambda: began.append("devices"))
    monkeypatch.setattr("noiseproof.commands.run.build_experiment", build)
    assert cli.exit_code(words) == 2
    assert began == ["devices", "build"]


def test_every_optimizer_is_tested_on_every_condition(tiny_run: Path) -> None:
    record = read_record(tiny_run)
    assert {entry.name: entry.kind for entry in record.run.optimizers} == {
        "structured": "learned",
        "structured initial": "initial",
        "adam": "hand",
        "adamw": "hand",
    }
    assert record.scores.right.shape == (4, 3, 3)
    assert {(one.corruption, one.strength): one.role for one in record.run.conditions} == {
        ("none", 0.0): "clean",
        ("gaussian_noise", 0.3): "held_out",
        ("gaussian_noise", 0.5): "meta_train",
    }


def test_the_summary_compares_the_learned_optimizer_with_all_others(tiny_run: Path) -> None:
    summary, run = read_summary(tiny_run / "summary.json"), read_run(tiny_run / "run.json")
    assert {entry.name: entry.trials for entry in run.optimizers} == {
        "structured": 0,
        "structured initial": 0,
        "adam": 3,
        "adamw": 3,
    }
    assert len(summary.comparisons) == 3 * 3
    assert {comparison.n for comparison in summary.comparisons} == {3}
    assert summary.held_out_improved["adam"].of == 1
    assert run.meta_training.outer_steps == 4
    assert run.meta_training.inner_steps == 4 * 2 * 2 * 10
    assert run.provenance.config["inner"]["num_steps"] == 20


def test_no_path_of_the_machine_stands_in_a_record(tiny_run: Path) -> None:
    for path in tiny_run.iterdir():
        if path.is_file() and path.suffix not in (".safetensors", ".npz"):
            text = path.read_text("utf-8")
            assert str(tiny_run.parent) not in text, path.name
            assert str(Path.home()) + "/" not in text, path.name


def test_the_same_seed_gives_the_same_records(
    tiny_run: Path, tiny_settings: list[str], tmp_path: Path
) -> None:
    again = tmp_path / "again"
    words = ["run", "gaussian-digits-mlp", "--out", str(again), "--seed", "0", *tiny_settings]
    assert cli.exit_code(words) == 0
    for name in ("results.npz", "theta.safetensors"):
        assert (again / name).read_bytes() == (tiny_run / name).read_bytes(), name


def test_a_finished_run_can_be_resumed(
    tiny_run: Path, tiny_settings: list[str], tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_run, tmp_path / "run")
    (folder / "results.npz").unlink()
    words = ["run", "gaussian-digits-mlp", "--out", str(folder), "--resume", *tiny_settings]
    assert cli.exit_code(words) == 0
    assert (folder / "results.npz").read_bytes() == (tiny_run / "results.npz").read_bytes()
    assert (folder / "metrics.jsonl").read_bytes() == (tiny_run / "metrics.jsonl").read_bytes()


def test_a_folder_in_use_is_left_alone(
    tiny_run: Path, tiny_settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*")}
    words = ["run", "gaussian-digits-mlp", "--out", str(tiny_run), *tiny_settings]
    assert cli.exit_code(words) == 2
    assert "is in use" in capsys.readouterr().err
    assert cli.exit_code([*words, "--resume", "--seed", "5"]) == 2
    assert "has seed 0, not 5" in capsys.readouterr().err
    assert cli.exit_code([*words, "--resume", "--set", "inner.num_steps=40"]) == 2
    assert "has inner" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*")} == before


@pytest.mark.slow
def test_a_demo_replaces_a_demo_and_nothing_else(
    tiny_settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    words = ["demo", "--out", str(folder), *tiny_settings]
    assert cli.exit_code(words) == 2
    assert "is in use by something else than a run" in capsys.readouterr().err
    assert (folder / "thesis.tex").read_text() == "years of work"
    (folder / "thesis.tex").unlink()
    assert cli.exit_code(words) == 0
    assert cli.exit_code([*words, "--set", "estimator.truncation=7"]) == 2
    assert (folder / "report.html").exists()  # what is wrong is found before anything is deleted
    assert cli.exit_code([*words, "--seed", "1"]) == 0
    assert json.loads((folder / "config.json").read_text())["seed"] == 1


@pytest.mark.parametrize("command", ["train", "study", "distill"])
def test_no_command_changes_the_rule_that_comes_with_a_theta(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches half of an optimizer that is dropped, or a traceback over its weights."""
    name, out = "spectral-fashion-mlp-augmented", tmp_path / "out.safetensors"
    given = {"train": ["digits", "--optimizer", name]}.get(command, [name])
    words = [command, *given, "--out", str(out), "--set", "rule.augments=false"]
    assert cli.exit_code(words) == 2
    assert "The rule comes with" in capsys.readouterr().err
    assert not out.exists()


def test_the_table_is_printed_with_n_and_spread(
    tiny_run: Path, tiny_settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(tiny_run), "--out", str(tmp_path / "evaluated")]
    assert cli.exit_code(words) == 0
    printed = capsys.readouterr().out
    assert re.search(r"gaussian noise 0\.5\*? +\d+\.\d ± \d+\.\d", printed)
    assert "n = 3 seeds" in printed
    assert re.search(
        r"adamw? (needs \d+ trials? on average to reach|does not reach the outer loss of)", printed
    )


@pytest.mark.slow
def test_theta_is_judged_again_on_other_data(
    tiny_run: Path, own_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "evaluated"
    words = ["evaluate", str(tiny_run), "--data", str(own_images), "--out", str(folder)]
    assert cli.exit_code([*words, "--set", "rule.kind=mlp"]) == 2
    assert "The rule comes with" in capsys.readouterr().err
    assert not folder.exists()
    assert cli.exit_code(words) == 0
    found = read_run(folder / "run.json")
    assert (found.dataset, found.num_classes) == ("own images", 4)
    assert found.meta_training.outer_steps == 4
    assert (folder / "report.html").exists()
    # As they were tuned on the digits, beside the same tuned here.
    there = {one.name: one.settings for one in read_run(tiny_run / "run.json").optimizers}
    here = {one.name: one for one in found.optimizers if one.kind == "transferred"}
    assert {name: one.settings for name, one in here.items()} == {
        f"{rival} transferred": there[rival] for rival in ("adam", "adamw")
    }


def test_a_finished_evaluation_is_resumed(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the searches and the controls of the run that theta is from, neither made again."""
    meta_trained, folder = tmp_path / "run", tmp_path / "evaluated"
    for place in (meta_trained, meta_trained / "control-clean"):
        place.mkdir()
        for name in ("theta.json", "theta.safetensors"):
            shutil.copy(tiny_run / name, place)
    words = ["evaluate", str(meta_trained), "--out", str(folder), "--tuned", str(tiny_run)]
    assert cli.exit_code([*words, "--set", "tuning.num_runs=3"]) == 2
    assert "tuning.num_runs = 2', not 'tuning.num_runs = 3" in capsys.readouterr().err
    far = ["--transferred", str(tmp_path), "--set", "inner.num_steps=40"]
    assert cli.exit_code([*words[:4], *far]) == 2
    assert "must be the folder of a run" in capsys.readouterr().err
    assert not folder.exists()
    assert cli.exit_code(words) == 0
    assert "tuning adam" not in capsys.readouterr().out
    (folder / "results.npz").unlink()
    assert cli.exit_code([*words, "--resume"]) == 0
    ours, theirs = (read_record(place).trials for place in (folder, tiny_run))
    assert ours is not None
    assert theirs is not None
    # On its own problem nothing is transferred.
    np.testing.assert_array_equal(ours.trial_loss, theirs.trial_loss)
    # Its control is a copy of it here.
    control = places(read_record(folder))["structured on clean"]
    for values in accuracies(read_record(folder)).values():
        np.testing.assert_array_equal(values[control], values[0])


def test_searches_share_their_draws_and_none_ends_below_what_it_contains(tiny_run: Path) -> None:
    record = read_record(tiny_run)
    entries = {entry.name: entry for entry in record.run.optimizers}
    assert entries["adamw"].contains == ["adam"]
    assert set(entries["adamw"].settings) == {"learning_rate", "weight_decay", "cosine"}
    assert entries["structured"].outer_loss is not None
    assert entries["structured initial"].outer_loss is None
    assert nested_violations(record) == []
    costs = read_summary(tiny_run / "summary.json").tuning_costs
    assert {name: cost.of for name, cost in costs.items()} == {"adam": 3, "adamw": 3}
    # The same number stands in the claim and the table of the page.
    page = (tiny_run / "report.html").read_text("utf-8")
    assert "trials until level" in page
    assert "What tuning costs" in page


def test_a_classifier_is_trained_and_saved(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.safetensors"
    words = ["train", "digits", "--optimizer", str(tiny_run), "--steps", "30", "--out", str(file)]
    assert cli.exit_code(words) == 0
    printed = capsys.readouterr().out
    assert re.search(r"clean +0\.\d{4}", printed)
    assert re.search(r"gaussian_noise 0\.5 +0\.\d{4}", printed)
    shapes = {name: array.shape for name, array in load_file(file).items()}
    assert shapes == {
        "0/bias": (32,),
        "0/weight": (64, 32),
        "1/bias": (10,),
        "1/weight": (32, 10),
    }
    assert cli.exit_code(words) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_classifier_is_trained_on_ones_own_images(
    tiny_run: Path, own_images: Path, tmp_path: Path
) -> None:
    file = tmp_path / "model.safetensors"
    words = ["train", "--data", str(own_images), "--optimizer", str(tiny_run), "--out", str(file)]
    assert cli.exit_code([*words, "--steps", "10"]) == 0
    assert load_file(file)["0/weight"].shape == (9 * 9 * 3, 32)


def test_theta_loads_as_an_optax_optimizer(tiny_run: Path) -> None:
    params = [{"weight": jnp.ones((64, 5)), "bias": jnp.zeros(5)}]
    layout = noiseproof.layout_of(params, (8, 8, 1))
    optimizer = noiseproof.load(tiny_run, num_steps=40, layout=layout)
    state = optimizer.init(params)
    updates, state = jax.jit(optimizer.update)(params, state, params)
    moved = optax.apply_updates(params, updates)
    assert float(jnp.abs(moved[0]["weight"] - 1.0).max()) > 0


def test_the_card_says_what_theta_is(tiny_run: Path) -> None:
    theta, card = load_theta(tiny_run)
    assert card["rule"] == "structured"
    assert card["meta_trained_on"] == "gaussian_noise std 0.5 (65% clean)"
    assert card["num_steps"] == 20
    assert card["license"] == "Apache-2.0"
    assert set(card["results"]) == {"structured initial", "adam", "adamw"}
    assert card["results"]["adam"]["n"] == 3
    assert card["meta_training"]["outer_steps"] == 4
    assert set(theta) == {"step", "orthogonal", "decay", "bands", "mean"}


def test_the_report_is_made_anew_from_records(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in RECORDS:
        shutil.copy(tiny_run / name, tmp_path / name)
    assert cli.exit_code(["report", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").read_bytes() == (tiny_run / "report.html").read_bytes()
    figure = tmp_path / "figure.svg"
    assert cli.exit_code(["report", str(tmp_path), "--figure", str(figure)]) == 0
    assert ElementTree.parse(figure).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    kept = (tmp_path / "run.json").read_bytes()
    for other in (tmp_path / "run.json", tmp_path / "no" / "figure.svg"):
        assert cli.exit_code(["report", str(tmp_path), "--figure", str(other)]) == 2
        assert "must be a file .svg in a folder that exists" in capsys.readouterr().err
    assert (tmp_path / "run.json").read_bytes() == kept


def test_rivals_are_taken_over_from_a_run_of_the_same_problem(
    tiny_run: Path, tiny_settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    words = ["run", "gaussian-digits-mlp", "--seed", "5", "--tuned", str(tiny_run), *tiny_settings]
    assert cli.exit_code([*words, "--out", str(other)]) == 0
    assert "tuning adam" not in capsys.readouterr().out
    assert (other / "tuned.json").read_bytes() == (tiny_run / "tuned.json").read_bytes()
    for name in ("results.npz", "theta.safetensors"):  # of another seed
        assert (other / name).read_bytes() != (tiny_run / name).read_bytes(), name


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["--set", "outer.std=0.4"],
            r"were tuned with 'outer\.std = 0\.5', not 'outer\.std = 0\.4': tune them anew",
        ),
        (["--tuned", "nowhere"], "nowhere must be the folder of a run, with config.json and"),
    ],
)
def test_rivals_of_another_problem_are_refused(
    words: list[str],
    complaint: str,
    tiny_run: Path,
    tiny_settings: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = ["run", "gaussian-digits-mlp", "--tuned", str(tiny_run), *tiny_settings]
    assert cli.exit_code([*first, "--out", str(tmp_path / "other"), *words]) == 2
    assert re.search(complaint, capsys.readouterr().err)
    assert not (tmp_path / "other").exists()
