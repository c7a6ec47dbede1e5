import json
import re
import subprocess
from pathlib import Path

import msgspec
import pytest

import noiseproof
from noiseproof.results import collect_provenance, portable_command


def collect(**changes: object) -> dict[str, object]:
    given = {"device": "2 CPU cores", "seeds": {"meta": [0]}, "arguments": ["noiseproof", "demo"]}
    return msgspec.to_builtins(collect_provenance(**(given | {"config": {}} | changes)))


def test_provenance_says_code_seeds_packages_and_device() -> None:
    found = collect(seeds={"meta": range(2)})
    assert found["code_version"] == noiseproof.__version__
    assert re.fullmatch(r"unknown|[0-9a-f]{12}(-dirty)?", found["commit"])
    assert found["seeds"] == {"meta": [0, 1]}
    assert {"jax", "numpy", "optax"} <= set(found["packages"])
    assert found["device"] == "2 CPU cores"
    assert found["command"] == "noiseproof demo"


def test_commit_is_unknown_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_git(*arguments: object, **options: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    assert collect()["commit"] == "unknown"


def test_no_path_of_the_machine_stands_in_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "secret" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path / "secret"))
    outside = f"{tmp_path}/secret/elsewhere/data.npz"
    arguments = [
        f"{tmp_path}/secret/.venv/bin/noiseproof",
        "run",
        "demo",
        "--out",
        f"{work}/runs/demo",
        f"--data={outside}",
        "--data-dir",
        "~/secret/data",
        "--set",
        f'data.files=["{outside}", "{outside}"]',
        "../../secret/x.npz",
    ]
    config = {
        "data": {"folder": Path(outside), "list": [outside]},
        "note": f"as in {outside}",
        "spaced": f"{tmp_path}/secret/my data/x.npz",
        "num_steps": 500,
        "std": 0.5,
    }
    found = collect(arguments=arguments, config=config)
    assert "secret" not in json.dumps(found)
    assert found["command"] == (
        "noiseproof run demo --out runs/demo --data=data.npz --data-dir data "
        """--set 'data.files=["data.npz", "data.npz"]' x.npz"""
    )
    assert found["config"] == {
        "data": {"folder": "data.npz", "list": ["data.npz"]},
        "note": "as in data.npz",
        "spaced": "x.npz",
        "num_steps": 500,
        "std": 0.5,
    }


def test_paths_from_the_root_folder_are_cut_there_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert portable_command(["noiseproof", "/home/someone/data"]) == "noiseproof data"


@pytest.mark.parametrize(
    "argument", ["mnist/fog", "runs/demo", "section.key=0.5", "~5", "a b", "--seed", "1/3"]
)
def test_what_is_no_path_stays(argument: str) -> None:
    assert portable_command(["noiseproof", argument]) in (
        f"noiseproof {argument}",
        f"noiseproof '{argument}'",
    )


def test_a_module_is_named_as_one_runs_it() -> None:
    assert portable_command(["/a/src/noiseproof/__main__.py", "demo"]) == (
        "python -m noiseproof demo"
    )


def test_windows_paths_are_shortened() -> None:
    assert portable_command(["noiseproof", r"--out=C:\Users\someone\demo"]) == (
        "noiseproof --out=demo"
    )
