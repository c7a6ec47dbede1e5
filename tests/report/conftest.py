from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from noiseproof.evaluate.comparison import compare, held_out_improved
from noiseproof.results import (
    CurvePoint,
    MetaTraining,
    MetricsLine,
    OptimizerEntry,
    Provenance,
    ResultRow,
    Summary,
    append_metrics,
    write_curves,
    write_results,
    write_summary,
)

OPTIMIZERS = {
    "nominal_mlp": ("learned", 0.06),
    "nominal_mlp_initial": ("initial", 0.0),
    "adamw": ("hand", 0.03),
    "adam": ("hand", 0.0),
    "sgd": ("hand", -0.02),
}
FAMILIES = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("gaussian_blur", "defocus_blur", "motion_blur"),
    "photometric": ("brightness", "contrast", "fog"),
    "geometric": ("elastic_transform", "translate", "rotate"),
}


def make_rows(num_seeds: int, *, severities: bool, generator: np.random.Generator) -> list:
    conditions = list(severity_conditions() if severities else strength_conditions())
    luck = generator.normal(0, 0.02, size=num_seeds)
    return [
        ResultRow(
            experiment="spectral-test" if severities else "gaussian-test",
            dataset="fashion",
            model="mlp",
            optimizer=name,
            kind=kind,
            tuned_on="random-spectrum noise" if severities else "gaussian_noise 0.5",
            meta_seed=0,
            seed=seed,
            num_steps=500,
            accuracy=float(
                np.clip(base + size * gain + luck[seed] + generator.normal(0, 0.01), 0, 1)
            ),
            loss=float(generator.uniform(0.5, 1.5)),
            diverged=False,
            **condition,
        )
        for name, (kind, gain) in OPTIMIZERS.items()
        for condition, base, size in conditions
        for seed in range(num_seeds)
    ]


def strength_conditions() -> Iterator[tuple[dict, float, float]]:
    clean = {"corruption": "none", "family": "none", "severity": None}
    yield clean | {"strength": 0.0, "role": "clean"}, 0.95, -0.1
    for strength in (0.1, 0.2, 0.3, 0.5, 0.7, 1.0):
        role = "meta_train" if strength == 0.5 else "held_out"
        noise = {"corruption": "gaussian_noise", "family": "noise", "severity": None}
        yield noise | {"strength": strength, "role": role}, 0.95 - 0.6 * strength, 2 * strength


def severity_conditions() -> Iterator[tuple[dict, float, float]]:
    clean = {"corruption": "none", "family": "none", "severity": None}
    yield clean | {"strength": 0.0, "role": "clean"}, 0.87, 0.0
    for place, (family, names) in enumerate(FAMILIES.items()):
        for name in names:
            for severity in range(1, 6):
                named = {"corruption": name, "family": family, "role": "held_out"}
                condition = named | {"severity": severity, "strength": None}
                yield condition, 0.9 - 0.1 * severity, 0.8 - 0.4 * place


def diverge(rows: Sequence[ResultRow], optimizer: str, seeds: Sequence[int]) -> list[ResultRow]:
    return [
        row._replace(accuracy=0.1, loss=float("nan"), diverged=True)
        if row.optimizer == optimizer and row.seed in seeds
        else row
        for row in rows
    ]


def make_summary(rows: Sequence[ResultRow]) -> Summary:
    rivals = [name for name in OPTIMIZERS if name != "nominal_mlp"]
    comparisons = compare(rows, learned="nominal_mlp", rivals=rivals)
    return Summary(
        experiment=rows[0].experiment,
        preset=rows[0].experiment,
        meta_training=MetaTraining(500, 800_000, 154.2, 5188.0, "2 CPU cores (x86_64)"),
        optimizers=[
            OptimizerEntry(name, kind, rows[0].tuned_on, 32 if kind == "hand" else 0)
            for name, (kind, _) in OPTIMIZERS.items()
        ],
        comparisons=comparisons,
        held_out_improved=held_out_improved(comparisons, rows),
        provenance=Provenance(
            code_version="0.1.0",
            commit="0123456789ab",
            seeds={"meta": [0], "inner": sorted({row.seed for row in rows})},
            packages={"jax": "0.10.2", "numpy": "2.3.0", "optax": "0.2.6"},
            python="3.11.2",
            platform="Linux x86_64",
            device="2 CPU cores (x86_64)",
            command=f"noiseproof run {rows[0].experiment} --out runs/x --set 'note=\"<b>&\"'",
            config={"inner": {"num_steps": 500, "batch_size": 32}, "estimator": {"std": 0.02}},
        ),
    )


def make_metrics(num_steps: int, generator: np.random.Generator) -> list[MetricsLine]:
    return [
        MetricsLine(
            outer_step=step,
            meta_loss=float(0.9 + 1.4 * np.exp(-step / 80) + generator.normal(0, 0.03)),
            select_loss=float(0.95 + 1.4 * np.exp(-step / 80)) if step % 50 == 0 else None,
            inner_steps=1600 * step,
            seconds=0.3 * step,
            snr=1.4,
            gradient_norm=0.3,
            diverged_share=0.0,
        )
        for step in range(1, num_steps + 1)
    ]


def make_curves(num_seeds: int) -> list[CurvePoint]:
    return [
        CurvePoint(name, step, loss, loss * 0.9, loss * 1.1, num_seeds)
        for name, (_, gain) in OPTIMIZERS.items()
        for step in range(0, 501, 10)
        for loss in [2.3 * float(np.exp(-step * (0.01 + 0.05 * gain))) + 0.02]
    ]


def write_records(
    folder: Path,
    *,
    severities: bool = False,
    num_seeds: int = 10,
    diverged: Sequence[int] = (),
    optional: bool = True,
) -> Path:
    generator = np.random.default_rng(0)
    rows = make_rows(num_seeds, severities=severities, generator=generator)
    rows = diverge(rows, "sgd", diverged)
    write_results(folder / "results.csv", rows)
    write_summary(folder / "summary.json", make_summary(rows))
    if optional:
        for line in make_metrics(500, generator):
            append_metrics(folder / "metrics.jsonl", line)
        write_curves(folder / "curves.csv", make_curves(num_seeds))
    return folder


@pytest.fixture(scope="session")
def make_folder() -> Callable[..., Path]:
    """Synthetic records in a given folder; options as in `write_records`."""
    return write_records


@pytest.fixture
def record_folder(tmp_path: Path) -> Callable[..., Path]:
    """Synthetic records in an empty folder; options as in `write_records`."""
    return lambda **options: write_records(tmp_path, **options)
