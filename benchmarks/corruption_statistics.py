"""Compares every corruption with independent implementations of the original scripts.

The first 300 test images of CIFAR-10 (glass blur: 150) at all five severities, those of MNIST with
the one severity of MNIST-C, and 24 crops of 224 pixels from the two photographs that come with
scikit-learn with the constants of ImageNet-C are corrupted and brought to 8 bits. Three numbers are
compared with `corruption_targets.json`, which says where its own come from: the root mean square of
the change, its mean, and on color images the ratio of standard deviations within images.

    python benchmarks/corruption_statistics.py --data-dir DIR --out results/corruptions

The bars: 5 percent (10 for snow, frost and spatter, and for fog and elastic deformation of the 24
crops; 8 on MNIST) for the root mean square and the ratio; for the mean the larger of that and half
a grey level plus four standard errors. The command ends with 1 if a row misses one.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import typer
from sklearn.datasets import load_sample_images

from noiseproof.corruptions import corrupt
from noiseproof.corruptions.suites import MNIST_C_SEVERITY
from noiseproof.data import load_dataset

TARGETS = json.loads(Path(__file__).with_name("corruption_targets.json").read_text())
NUM_IMAGES = 300
FEWER_IMAGES = {"glass_blur": 150}
LOOSER = {"snow": 0.10, "frost": 0.10, "spatter": 0.10}
FEW_CROPS = {"fog": 0.10, "elastic_transform": 0.10}
PART_SIZE = 1_000_000
NUM_CROPS, CROP_SIDE, CROP_DRAWS = 24, 224, 8


def change(clean: np.ndarray, corrupted: np.ndarray) -> dict[str, float]:
    """Statistics of the change of 8-bit images, with standard errors over images."""
    difference = corrupted - clean
    mean_squares = (difference**2).mean(axis=(1, 2, 3))
    rmse = float(np.sqrt(mean_squares.mean()))
    means = difference.mean(axis=(1, 2, 3))
    spreads = [images.std(axis=(1, 2)).mean(axis=1) for images in (corrupted, clean)]
    root = np.sqrt(len(clean))
    return {
        "rmse": rmse,
        # The derivative of a root is 1 / (2 root).
        "rmse_standard_error": float(mean_squares.std(ddof=1) / (2 * rmse * root)),
        "mean_shift": float(means.mean()),
        "mean_shift_standard_error": float(means.std(ddof=1) / root),
        "std_ratio": float((spreads[0] / spreads[1]).mean()),
    }


def judged(measured: dict[str, float], target: list[float], bar: float) -> dict[str, Any]:
    """The measured numbers beside the target's, and whether they are within the bars."""
    shift_bar = max(bar * abs(target[1]), 0.5 + 4 * measured["mean_shift_standard_error"])
    within = abs(measured["rmse"] / target[0] - 1) <= bar
    within = within and abs(measured["mean_shift"] - target[1]) <= shift_bar
    row = {**measured, "target_rmse": target[0], "target_mean_shift": target[1]}
    if len(target) == 3:
        within = within and abs(measured["std_ratio"] / target[2] - 1) <= bar
        row["target_std_ratio"] = target[2]
    return {**row, "bar": bar, "mean_shift_bar": shift_bar, "within": within}


def measure(images: np.ndarray, name: str, severity: int, seed: int) -> dict[str, float]:
    # In parts, because what is in between takes several times the memory of the images.
    size = max(1, PART_SIZE // images[0].size)
    corrupted = [
        np.asarray(corrupt(images[first : first + size], name, severity, seed, first=first))
        for first in range(0, len(images), size)
    ]
    return change(images.astype(float), np.concatenate(corrupted).astype(float))


def cifar_rows(data_dir: Path, seed: int) -> list[dict[str, Any]]:
    images = load_dataset("cifar-10", data_dir=data_dir).test.images
    rows = []
    for name, targets in TARGETS["cifar-10"].items():
        some = images[: FEWER_IMAGES.get(name, NUM_IMAGES)]
        for severity, target in enumerate(targets, start=1):
            row = judged(measure(some, name, severity, seed), target, LOOSER.get(name, 0.05))
            rows.append({"corruption": name, "severity": severity, "n": len(some), **row})
    return rows


def mnist_rows(data_dir: Path, seed: int) -> list[dict[str, Any]]:
    images = load_dataset("mnist", data_dir=data_dir).test.images[:NUM_IMAGES]
    rows = []
    for name, severity in MNIST_C_SEVERITY.items():
        target = TARGETS["mnist"][name.removeprefix("mnist/")]
        row = judged(measure(images, name, severity, seed), target, 0.08)
        rows.append({"corruption": name, "severity": severity, "n": len(images), **row})
    return rows


def photograph_crops() -> np.ndarray:
    """Random squares of two photographs, in turn."""
    generator = np.random.default_rng(0)
    pictures = load_sample_images().images
    crops = []
    for number in range(NUM_CROPS):
        picture = pictures[number % 2]
        top, left = (int(generator.integers(size - CROP_SIDE + 1)) for size in picture.shape[:2])
        crops.append(picture[top : top + CROP_SIDE, left : left + CROP_SIDE])
    return np.stack(crops)


def imagenet_rows(seed: int) -> list[dict[str, Any]]:
    crops = photograph_crops()
    rows = []
    for name, targets in TARGETS["imagenet"].items():
        bar = {**LOOSER, **FEW_CROPS}.get(name, 0.05)
        num_draws = CROP_DRAWS if name in TARGETS["imagenet_drawn_8_times"] else 1
        some = np.concatenate([crops] * num_draws)
        for severity, target in enumerate(targets, start=1):
            row = judged(measure(some, f"imagenet/{name}", severity, seed), target, bar)
            where = {"corruption": f"imagenet/{name}", "severity": severity, "n": len(some)}
            rows.append({**where, **row})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [
        "| corruption | severity | n | rmse | target | shift | target | std ratio | target | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        ratios = ("", "")
        if "target_std_ratio" in row:
            ratios = (f"{row['std_ratio']:.3f}", f"{row['target_std_ratio']:.3f}")
        cells = [
            row["corruption"],
            str(row["severity"]),
            str(row["n"]),
            f"{row['rmse']:.2f} ± {row['rmse_standard_error']:.2f}",
            f"{row['target_rmse']:.2f}",
            f"{row['mean_shift']:+.2f} ± {row['mean_shift_standard_error']:.2f}",
            f"{row['target_mean_shift']:+.2f}",
            *ratios,
            "within" if row["within"] else "MISSES",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(
    data_dir: Annotated[Path, typer.Option(help="Folder with cifar-10 and mnist.")],
    out: Annotated[Path | None, typer.Option(help="Folder for statistics.json and .md.")] = None,
    seed: Annotated[int, typer.Option(help="Of all random draws.")] = 0,
) -> None:
    """Prints the table; writes it where asked."""
    rows = [*cifar_rows(data_dir, seed), *mnist_rows(data_dir, seed), *imagenet_rows(seed)]
    missed = [f"{row['corruption']} {row['severity']}" for row in rows if not row["within"]]
    summary = f"{len(rows) - len(missed)} of {len(rows)} rows within their bars (seed {seed})."
    typer.echo(table(rows) + "\n\n" + summary)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        record = {"seed": seed, "jax": jax.__version__, "rows": rows}
        (out / "statistics.json").write_text(json.dumps(record, indent=1) + "\n")
        (out / "statistics.md").write_text(report(summary, rows))
    if missed:
        raise typer.Exit(1)


def report(summary: str, rows: list[dict[str, Any]]) -> str:
    """The page that is committed."""
    return (
        "# Corruptions against independent implementations\n\n"
        "Made by `python benchmarks/corruption_statistics.py --data-dir DIR --out "
        "results/corruptions`, which says what is compared and where the targets come from. "
        "Changes on 0 to 255; ± is one standard error over images. "
        f"{summary}\n\n{table(rows)}\n"
    )


if __name__ == "__main__":
    typer.run(main)
