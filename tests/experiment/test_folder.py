"""Claims of an output folder: by one of many, after a kill, and never of what fits no memory."""

import json
import subprocess
import sys
import threading

import pytest

from noiseproof.experiment.build import build_experiment
from noiseproof.experiment.folder import IMAGES, claim
from noiseproof.experiment.reading import with_settings
from noiseproof.metatrain.memory import check_runs_fit

WANTED = {"seed": 0}

STARTER = """
import sys
from pathlib import Path
from noiseproof.experiment.folder import claim
for line in sys.stdin:
    try:
        claim(Path(line.strip()), {"seed": 0})
        print("claimed", flush=True)
    except ValueError as error:
        print(error, flush=True)
"""
"""A process that claims each folder it is told as soon as it is told, and says how that went."""


def test_of_many_at_once_one_claims_and_the_others_are_told(tmp_path):
    """Catches a check before the act, and a winner who clears away a file that is being written."""
    for number in range(30):
        folder, told = tmp_path / str(number), []

        def attempt(folder=folder, told=told):
            try:
                claim(folder, WANTED)
                told.append("claimed")
            except ValueError as error:
                told.append(str(error).rpartition(":")[0].removeprefix("The output folder "))

        threads = [threading.Thread(target=attempt) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(told) == sorted(["claimed", *[f"{folder} is in use"] * 3])
        assert [path.name for path in folder.iterdir()] == ["config.json"]


def test_of_two_processes_at_once_one_claims_and_the_other_is_told(tmp_path):
    """Catches a lock that holds within one process only, and a traceback in place of one line."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    starters = [subprocess.Popen([sys.executable, "-c", STARTER], **pipes) for _ in range(2)]
    for number in range(20):
        folder = tmp_path / str(number) / "new"
        for starter in starters[:: 1 - number % 2 * 2]:
            starter.stdin.write(f"{folder}\n")
        told = sorted(starter.stdout.readline() for starter in starters)
        assert told[1] == "claimed\n"
        assert told[0].startswith(f"The output folder {folder} is in use: choose another with")
        assert [path.name for path in folder.iterdir()] == ["config.json"]
    for starter in starters:
        starter.communicate()
        assert starter.returncode == 0


@pytest.mark.parametrize("resume", [False, True])
def test_what_a_kill_left_is_cleared_and_the_run_begins(tmp_path, resume):
    (tmp_path / ".config.json.x1y2").write_text('{"se')
    claim(tmp_path, WANTED, resume=resume)
    (tmp_path / ".config.json.z3").write_text('{"se')
    claim(tmp_path, WANTED, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    with pytest.raises(ValueError, match="has seed 0, not 1"):
        claim(tmp_path, {"seed": 1}, resume=True)


def test_what_differs_is_named_and_other_images_are_refused(tmp_path):
    """Catches two cut dicts that read alike, searches on images that were replaced, and an older
    run, which does not say its images, that can not be resumed."""
    known = {"tuning": {"rivals": ["adam"] * 30, "num_runs": 4}}
    claim(tmp_path, known)
    claim(tmp_path, known | {IMAGES: "a"}, resume=True)
    (tmp_path / "config.json").write_text(json.dumps(known | {IMAGES: "a"}))
    with pytest.raises(ValueError, match="read other images"):
        claim(tmp_path, known | {IMAGES: "b"}, resume=True)
    with pytest.raises(ValueError, match=r"has tuning\.num_runs 4, not 5"):
        claim(tmp_path, {"tuning": known["tuning"] | {"num_runs": 5}}, resume=True)


@pytest.mark.parametrize("content", ["[" * 10_000 + "]" * 10_000, "[]", "7", '{"seed":', ""])
def test_a_damaged_beginning_is_one_line(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json is damaged") as refusal:
        claim(tmp_path, WANTED, resume=True)
    assert "\n" not in str(refusal.value)


def start(words):
    """What a run does before it claims its folder."""
    meta = build_experiment(with_settings({}, words, "settings")).meta
    check_runs_fit(meta.objectives, meta.estimator, meta.data)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["rule.kind=mlp", "rule.hidden_sizes=[1000000, 1000000]"], "The rule needs"),
        (["model.hidden_sizes=[1000000, 1000000]"], "evaluation.num_seeds = 20 needs"),
        (["evaluation.num_seeds=10000", "inner.num_steps=100000000"], "inner.num_steps = 1000"),
        (["inner.batch_size=1000000", "evaluation.num_seeds=10000"], "inner.batch_size = 1000000"),
        (["estimator.kind=es", "estimator.num_pairs=1000000"], "Meta-training needs"),
        (["meta.num_select_runs=1000000"], "meta.num_select_runs = 1000000 needs"),
    ],
)
def test_what_no_memory_holds_is_refused_before_a_run(words, what, monkeypatch):
    """Catches work that is lost in the last of its parts, for want of memory."""
    free = 16_000_000_000
    monkeypatch.setattr("noiseproof.experiment.build.free_bytes", lambda: free)
    monkeypatch.setattr("noiseproof.metatrain.memory.free_bytes", lambda: free)
    with pytest.raises(ValueError, match=what):
        start(["data.name=digits", *words])
