import json

import pytest

from noiseproof import cli
from noiseproof.commands import plan

PRESET = "gaussian-digits-mlp"


def test_a_plan_says_memory_and_time(
    tiny_settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In both forms, which agree; the run is that of the settings, not of the preset."""
    assert cli.exit_code(["plan", PRESET, "--json", *tiny_settings]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["free_bytes"] > found["program_bytes"] > found["carried_bytes"] > 0
    assert set(found["compile_seconds"]) == {"start", "outer_step", "refresh", "score"}
    assert (found["outer_steps"], found["scores"]) == (4, 2)
    at_least = 4 * found["outer_step_seconds"] + 2 * found["score_seconds"]
    assert found["meta_training_seconds"] > at_least > 0
    # Two rivals with 3 trials and 2 finalists of 2 runs each, and 4 optimizers with 3 seeds.
    assert found["compared_runs"] == 2 * (3 * 2 + 4) + 4 * 3
    assert cli.exit_code(["plan", PRESET, *tiny_settings]) == 0
    printed = capsys.readouterr().out
    assert f"memory of a device: {plan.size(found['carried_bytes'])} of runs" in printed
    assert "meta-training: 4 outer steps" in printed


def test_what_can_not_fit_is_refused_before_anything_is_written(
    tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [PRESET, "--set", "estimator.num_pairs=1000000"]
    assert cli.exit_code(["plan", *words]) == 2
    assert "GB are free: it takes fewer pairs, or smaller runs" in capsys.readouterr().err
    assert cli.exit_code(["run", *words, "--out", str(tmp_path / "out")]) == 2
    assert "GB are free: it takes fewer pairs, or smaller runs" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("num_bytes", "words"), [(12, "12 B"), (1500, "1.5 kB"), (2_345_678, "2.35 MB"), (7e9, "7 GB")]
)
def test_sizes_in_words(num_bytes: int, words: str) -> None:
    assert plan.size(int(num_bytes)) == words
