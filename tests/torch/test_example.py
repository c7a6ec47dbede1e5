"""The example in PyTorch, run as a user runs it, on fewer steps."""

import re
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra [torch] is not installed")

EXAMPLE = Path(__file__).parents[2] / "examples" / "torch_training_loop.py"


def test_the_training_loop_trains(monkeypatch, capsys):
    """Catches an optimizer that does not learn under batch norm, and marks that went lost."""
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "100"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr().out
    clean, noisy = (float(text) for text in re.findall(r" (\d\.\d{3})  \(one classifier", printed))
    assert clean > 0.8
    # An accuracy of chance over 397 images has a standard error of √(.1 · .9 / 397).
    assert clean > noisy > 0.1 + 4 * (0.1 * 0.9 / 397) ** 0.5
    assert EXAMPLE.read_text("utf-8").count("# ← was: ") == 2
