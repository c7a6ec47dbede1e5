"""The notebook, executed from its first cell to its last on tiny settings."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TINY = {
    "inner.num_steps": 20,
    "window.loss_interval": 5,
    "estimator.truncation": 10,
    "pool.size": 64,
    "tuning.rivals": '["adam"]',
    "tuning.num_trials": 2,
    "tuning.num_runs": 1,
    "tuning.num_final_runs": 2,
    "evaluation.num_seeds": 2,
    "evaluation.num_images": 40,
}


@pytest.mark.slow  # a minute and more of compiling
def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a notebook that names what is gone, and a page whose figures do not display."""
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient").NotebookClient
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    notebook = nbformat.read(ROOT / "examples" / "study.ipynb", as_version=4)
    (given,) = (one for one in notebook.cells if "parameters" in one.metadata.get("tags", []))
    settings = [f"{place}={value}" for place, value in TINY.items()]
    given.source += f"\nSETTINGS = {settings!r}"
    client(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [one for one in notebook.cells if one.cell_type == "code"]
    texts = ["".join(one.get("text", "") for one in cell.outputs) for cell in cells]
    assert any("of the rule structured" in text for text in texts)
    assert any("decay removed" in text for text in texts)
    assert "of theta's gain over Adam" in texts[-1]
    shown = [one.data["text/html"] for cell in cells for one in cell.outputs if "data" in one]
    assert len(shown) == 3
    assert all(text.startswith("<svg") for text in shown)
