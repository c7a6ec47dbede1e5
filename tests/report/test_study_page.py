"""Records of a study, and the page from them alone."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from noiseproof.report.study_page import render_study, write_study_page
from noiseproof.results import (
    Condition,
    OptimizerEntry,
    Provenance,
    Study,
    StudyRecord,
    read_study,
    write_study,
)
from noiseproof.results.study import ARRAYS

KINDS = {"theta": "learned", "initial theta": "initial", "adam": "hand"}
SIZES: dict[str, list[Any]] = {
    "optimizers": list(KINDS),
    "conditions": ["clean", "fog 1", "fog 3", "shot_noise 3"],
    "seeds": [0, 1, 2],
    "thetas": ["theta", "other"],
    "rates": ["step: first", "bands: first filters, fine", "mean: first filters"],
    "fractions": np.linspace(0, 1, 41).tolist(),
    "tensors": ["0/bias (bias)", "0/weight (first)", "1/weight (readout)"],
    "stretches": [5.0, 15.0, 25.0],
    "moments": [0.1, 0.5, 0.9],
    "factors": [-1.0, 0.0, 1.0],
    "coasting": [0, 5, 10],
    "units": [0, 1],
    "filter_rows": list(range(5)),
    "filter_columns": list(range(4)),
    "channels": [0],
    "filter_layers": ["0/weight (first)"],
    "bands": ["mean", "to 1/4", "to 1/2", "to 3/4", "to 1"],
    "rows": list(range(5)),
    "columns": list(range(4)),
    "radii": [0, 1, 2],
    "quantiles": np.linspace(0, 1, 41).tolist(),
    "layers": ["into layer 2"],
    "lengths": [0.25, 0.5, 1.0],
    "sides": ["clean", "corrupted"],
    "variants": ["as learned", "decay removed"],
    "families": ["none", "photometric", "noise"],
}


@pytest.fixture
def record() -> StudyRecord:
    generator = np.random.default_rng(0)
    arrays = {
        name: 0.2 + 0.6 * generator.uniform(size=[len(SIZES[axis]) for axis in axes])
        for name, axes in ARRAYS.items()
    }
    conditions = [
        Condition("none", "none", "clean", strength=0.0),
        Condition("fog", "photometric", "held_out", severity=1),
        Condition("fog", "photometric", "held_out", severity=3),
        Condition("shot_noise", "noise", "kin", severity=3),
    ]
    about = Study(
        name="theta <1>",
        rule="structured",
        meta_trained_on="spectral noise",
        task="digits 5x4x1, mlp",
        num_steps=30,
        num_images=60,
        num_classes=10,
        wave_norm=0.5,
        optimizers=[OptimizerEntry(name, kind, "words", 0) for name, kind in KINDS.items()],
        conditions=conditions,
        axes=SIZES,
        equation=["W <- W - s D", "s 0.1"],
        provenance=Provenance("0", "c", {"inner": [0]}, {}, "3", "p", "d", "noiseproof study", {}),
    )
    return StudyRecord(about, arrays)


def test_a_page_shows_every_array_and_stands_alone(record: StudyRecord, tmp_path: Path) -> None:
    """Catches a section that is forgotten, outside links, and figures without words."""
    write_study(tmp_path, record)
    page = write_study_page(tmp_path).read_text("utf-8")
    assert page == render_study(read_study(tmp_path))
    for heading in ("The rule", "What it does", "What its classifiers respond to", "What matters"):
        assert f"<h2>{heading}</h2>" in page
    figures = re.findall(r'<figure role="img" aria-label="(.+?)">', page)
    assert len(figures) == page.count("<svg") == len(set(figures)) == 17
    assert "theta &lt;1&gt;" in page
    assert not re.findall(r'(?:href|src)="(?!#|data:image/png)[^"]*"', page)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_a_rule_that_is_not_explained_has_a_page(record: StudyRecord) -> None:
    left_out = ("rates", "ablation", "filters", "bands")
    arrays = {name: array for name, array in record.arrays.items() if name not in left_out}
    page = render_study(StudyRecord(replace(record.about, equation=[]), arrays))
    assert "<h2>The rule</h2>" not in page
    assert "Errors under single waves" in page


def test_arrays_are_as_long_as_their_axes(record: StudyRecord, tmp_path: Path) -> None:
    wrong = {**record.arrays, "ranks": record.arrays["ranks"][:, :2]}
    with pytest.raises(ValueError, match=r"ranks must hold floats of shape \(3, 3, 1\)"):
        write_study(tmp_path, record._replace(arrays=wrong))
    with pytest.raises(ValueError, match="got 'other'"):
        write_study(tmp_path, record._replace(arrays={"other": np.zeros(3)}))
    axes = {**SIZES, "optimizers": ["theta"]}
    with pytest.raises(ValueError, match="a label for each optimizer"):
        write_study(tmp_path, record._replace(about=replace(record.about, axes=axes)))


def test_a_damaged_record_is_refused_in_a_line(record: StudyRecord, tmp_path: Path) -> None:
    write_study(tmp_path, record)
    arrays = tmp_path / "study.npz"
    arrays.write_bytes(arrays.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"study.npz must be a whole NumPy archive"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(ValueError, match=r"study.json: .*missing required field"):
        read_study(tmp_path)
    with pytest.raises(ValueError, match="is missing"):
        read_study(tmp_path / "nowhere")
