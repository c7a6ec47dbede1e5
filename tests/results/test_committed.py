"""The smallest committed records are read, and say what the page of results says of them."""

from pathlib import Path

import pytest

from noiseproof.results import compare, read_metrics, read_record

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_rows_of_the_demo_are_those_of_its_records(seed: int) -> None:
    name = f"gaussian-digits-mlp/seed-{seed}"
    record = read_record(ROOT / "results" / name)
    found = compare(record, learned="structured", rivals=["adam", "adamw", "muon"])
    cells = []
    for comparison in found:
        if comparison.condition.role == "meta_train":
            assert comparison.ci95 is not None
            low, high = (100 * end for end in comparison.ci95)
            cells.append(f"{100 * comparison.difference:.1f} ({low:.1f} to {high:.1f})")
    row = f"| [`{name}`](../results/{name}) | {' | '.join(cells)} |"
    assert row in (ROOT / "docs" / "results.md").read_text("utf-8")


def test_thinned_metrics_are_read() -> None:
    lines = read_metrics(ROOT / "results" / "gaussian-digits-mlp" / "seed-0" / "metrics.jsonl")
    assert (lines[0].outer_step, lines[-1].outer_step) == (1, 500)
    assert sum(line.select_loss is not None for line in lines) == 10
