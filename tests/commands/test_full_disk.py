from pathlib import Path

import pytest

from noiseproof import cli
from noiseproof.checkpoint import state


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_last_good_checkpoint_stays(
    tiny_settings: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The disk is full from the third checkpoint on."""
    folder, num_calls, write = tmp_path / "run", 0, state._write_arrays

    def write_twice(checkpoint: Path, content: state.State) -> None:
        nonlocal num_calls
        num_calls += 1
        if num_calls > 2:
            raise ValueError("RESOURCE_EXHAUSTED: Error writing: No space left on device")
        write(checkpoint, content)

    words = ["run", "gaussian-digits-mlp", "--out", str(folder), *tiny_settings]
    monkeypatch.setattr(state, "_write_arrays", write_twice)
    assert cli.exit_code(words) == 1
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert "The disk is full: step_00000003 was not saved, older checkpoints stay" in complaint
    assert state.verify(folder / "checkpoints" / "step_00000002")["step"] == 2
