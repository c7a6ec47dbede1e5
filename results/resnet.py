"""Prints the accuracy of a ResNet-18 by optimizer, of a record of `benchmarks/gpu.py`.

python results/resnet.py results/universal-resnet/resnet.json   # the shipped theta
python results/resnet.py results/universal-gpu/resnet.json      # the first theta
python results/resnet.py results/universal-gpu/augmix.json      # the second, with AugMix
"""

import json
import sys
from pathlib import Path
from statistics import mean, stdev

if len(sys.argv) != 2:
    sys.exit(__doc__)
found = json.loads(Path(sys.argv[1]).read_text("utf-8"))
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
