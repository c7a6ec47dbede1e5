"""A run of the main job, made as small as it can be."""

from pathlib import Path

import pytest

from noiseproof import cli

TINY = {
    "inner.num_steps": 20,
    "outer.loss_interval": 5,
    "outer.pool_size": 64,
    "estimator.truncation": 10,
    "estimator.num_pairs": 2,
    "meta.num_outer_steps": 4,
    "meta.select_every": 2,
    "meta.num_select_runs": 2,
    "meta.checkpoint_every": 1,
    "tuning.num_trials": 3,
    "tuning.num_finalists": 2,
    "tuning.num_final_runs": 2,
    "evaluation.num_seeds": 3,
    "evaluation.strengths": [0.3, 0.5],
}


@pytest.fixture(scope="session")
def tiny_settings() -> list[str]:
    return [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_settings: list[str]) -> Path:
    """The folder of a finished run on the digits."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    words = ["run", "gaussian-digits-mlp", "--out", str(folder), *tiny_settings]
    assert cli.exit_code(words) == 0
    return folder
