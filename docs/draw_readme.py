"""Draws the figure of the README: accuracy by family of corruptions, beside corrupted images.

    python docs/draw_readme.py --data-dir data

Accuracies are those of a committed record; the images are of the test split that it was made on.
"""

from pathlib import Path
from typing import Annotated

import matplotlib
import numpy as np
import typer
from matplotlib import pyplot

from noiseproof.commands.preview import severities
from noiseproof.corruptions.families import FAMILIES
from noiseproof.corruptions.keys import as_key
from noiseproof.data import load_dataset
from noiseproof.results import accuracies, places, read_record

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "results" / "universal-convnet"
PICTURE = ROOT / "docs" / "images" / "families.svg"
OPTIMIZERS = {
    "adam": "Adam, tuned",
    "decayed_muon": "decayed_muon, tuned",
    "universal": "universal, untuned",
}
"""Adam, the strongest of the tuned rivals, and the shipped optimizer."""

COLORS = ("#9aa5ad", "#4a7fb5", "#d1570a")
SAMPLES = {
    "noise": "gaussian_noise",
    "blur": "defocus_blur",
    "photometric": "fog",
    "weather": "snow",
    "digital": "pixelate",
    "geometric": "rotate",
    "occlusion": "stripe",
}
SEVERITY, SAMPLE = 4, 0


def by_family() -> dict[str, list[float]]:
    """The mean accuracy of each optimizer over the corruptions of each family, in percent."""
    record = read_record(RECORD)
    place = places(record)
    means = {
        one.corruption: (one.family, values.mean(axis=1))
        for one, values in accuracies(record).items()
        if one.severity is None and one.strength is None and one.role != "meta_train"
    }
    found = {}
    for family in FAMILIES:
        rows = [values for name, (kind, values) in means.items() if kind == family]
        mean = 100 * np.mean(rows, axis=0)
        found[family] = [float(mean[place[name]]) for name in OPTIMIZERS]
    return found


def main(data_dir: Annotated[Path, typer.Option(envvar="NOISEPROOF_DATA")]) -> None:
    """Draws the picture."""
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "noiseproof", "font.size": 9}
    images = load_dataset("fashion-mnist", data_dir=data_dir, image_size=14).test.images
    found = by_family()
    figure = pyplot.figure(figsize=(8, 4.4))
    chart = figure.add_axes((0.20, 0.1, 0.79, 0.82))
    for place, (family, means) in enumerate(found.items()):
        for row, (mean, color) in enumerate(zip(means, COLORS, strict=True)):
            height = place + 0.27 * (row - 1)
            chart.barh(height, mean, 0.25, color=color)
            chart.text(mean + 0.4, height, f"{mean:.1f}", va="center", fontsize=8)
        picture = severities(images, SAMPLES[family], SAMPLE, as_key(0))[SEVERITY]
        y = 0.1 + 0.82 * (len(found) - 1 - place + 0.08) / len(found)
        inset = figure.add_axes((0.115, y, 0.075, 0.84 * 0.82 / len(found)))
        inset.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        inset.axis("off")
        figure.text(0.108, y + 0.05, family, ha="right", va="center")
    chart.set(ylim=(len(found) - 0.5, -0.5), xlim=(0, 95), yticks=[])
    chart.set_xlabel("accuracy in percent", labelpad=1)
    for side in ("top", "right", "left"):
        chart.spines[side].set_visible(False)
    for place, (words, color) in enumerate(zip(OPTIMIZERS.values(), COLORS, strict=True)):
        figure.text((0.22, 0.42, 0.72)[place], 0.95, f"■ {words}", color=color, weight="bold")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    typer.run(main)
