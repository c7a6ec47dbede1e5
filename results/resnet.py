"""Prints the accuracy of a residual net by optimizer, of records of `benchmarks/gpu.py`.

python results/resnet.py results/universal-resnet/resnet.json   # ResNet-18, the shipped theta
python results/resnet.py results/universal-resnet/resnet_8.json # of 8 layers
python results/resnet.py results/universal-gpu/resnet.json      # ResNet-18, the first theta
python results/resnet.py results/universal-gpu/augmix.json      # the same, the second, with AugMix

Several files are taken as one, whose contestants were shared between processes.
"""

import json
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from noiseproof.results import mean_interval

CLEAN, CORRUPTED = "clean", "mean_corrupted"


def in_words(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def percent(part: dict[str, Any], kind: str) -> dict[int, float]:
    """By seed."""
    return {run["seed"]: 100 * run[kind] for run in part["runs"]}


def lead(first: dict[int, float], other: dict[int, float]) -> str:
    """How far the first is ahead on the seeds of both, in points, with its interval."""
    shared = [first[seed] - other[seed] for seed in first if seed in other]
    found = mean_interval(np.array(shared))
    half = f" ± {found.high - found.mean:.1f}" if len(shared) > 1 else ""
    return f"{found.mean:+.1f}{half} ({len(shared)})"


if len(sys.argv) < 2:
    sys.exit(__doc__)
files = [json.loads(Path(name).read_text("utf-8")) for name in sys.argv[1:]]
found = {name: part for file in files for name, part in file["contestants"].items()}
reached = {
    kind: {name: percent(part, kind) for name, part in found.items()} for kind in (CLEAN, CORRUPTED)
}
ours = next(iter(found))
print(f"{'optimizer':34s} trials  n  {'clean':13s} {'19 corruptions':15s} {ours} − it (n)")
for name, part in found.items():
    cells = [in_words(list(reached[kind][name].values())) for kind in (CLEAN, CORRUPTED)]
    against = "" if name == ours else lead(reached[CORRUPTED][ours], reached[CORRUPTED][name])
    trials, runs = len(part.get("trials", [])), len(part["runs"])
    print(f"{name:34s} {trials:6d} {runs:2d}  {cells[0]:13s} {cells[1]:15s} {against}")
print("In percent: mean ± standard deviation over n seeds; differences with 95% intervals.")
