"""Prints the accuracy of a ResNet-18 by optimizer, of `results/universal-gpu/resnet.json`.

python results/resnet.py           # without augmentation, by an earlier theta of `universal`
python results/resnet.py augmix    # with AugMix, by the shipped one
"""

import json
import sys
from pathlib import Path
from statistics import mean, stdev

name = f"{'augmix' if sys.argv[1:] == ['augmix'] else 'resnet'}.json"
found = json.loads((Path(__file__).parent / "universal-gpu" / name).read_text("utf-8"))
print(f"{'optimizer':34s} trials  n  clean         mean of 19 corruptions")
for name, part in found["contestants"].items():
    runs = part["runs"]
    cells = []
    for kind in ("clean", "mean_corrupted"):
        values = [100 * run[kind] for run in runs]
        spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
        cells.append(f"{mean(values):.1f}{spread}")
    trials = len(part.get("trials", []))
    print(f"{name:34s} {trials:6d} {len(runs):2d}  {cells[0]:12s}  {cells[1]}")
print("In percent: mean ± standard deviation over n seeds.")
