"""The committed comparison with independent implementations is whole and within its bars."""

import json
from pathlib import Path

from noiseproof.corruptions.families import STANDARD_15, VALIDATION_4
from noiseproof.corruptions.suites import IMAGENET_C, MNIST_C_SEVERITY

ROOT = Path(__file__).parents[2]


def bar_of(name):
    loose = ("snow", "frost", "spatter")
    if name.startswith("mnist/"):
        return 0.08
    if name.startswith("imagenet/"):
        loose = (*loose, "fog", "elastic_transform")
    return 0.10 if name.removeprefix("imagenet/") in loose else 0.05


def test_every_corruption_and_severity_is_within_its_bar():
    record = json.loads((ROOT / "results" / "corruptions" / "statistics.json").read_text())
    cells = {(row["corruption"], row["severity"]) for row in record["rows"]}
    names = (*STANDARD_15, *VALIDATION_4, *IMAGENET_C)
    expected = {(name, severity) for name in names for severity in range(1, 6)}
    assert cells == expected | set(MNIST_C_SEVERITY.items())
    for row in record["rows"]:
        bar = bar_of(row["corruption"])
        assert abs(row["rmse"] / row["target_rmse"] - 1) <= bar, row
        shift_bar = max(
            bar * abs(row["target_mean_shift"]), 0.5 + 4 * row["mean_shift_standard_error"]
        )
        assert abs(row["mean_shift"] - row["target_mean_shift"]) <= shift_bar, row
        if "target_std_ratio" in row:
            assert abs(row["std_ratio"] / row["target_std_ratio"] - 1) <= bar, row
