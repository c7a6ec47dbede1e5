from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from noiseproof.results import (
    Condition,
    Curves,
    MetaTraining,
    MetricsLine,
    OptimizerEntry,
    Provenance,
    Record,
    Run,
    Samples,
    Scores,
    Trials,
    append_metrics,
    write_record,
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
NUM_IMAGES = 1000


def strength_conditions() -> Iterator[tuple[Condition, float, float]]:
    yield Condition("none", "none", "clean", strength=0.0), 0.95, -0.1
    for strength in (0.1, 0.2, 0.3, 0.5, 0.7, 1.0):
        role = "meta_train" if strength == 0.5 else "held_out"
        condition = Condition("gaussian_noise", "noise", role, strength=strength)
        yield condition, 0.95 - 0.6 * strength, 2 * strength


def severity_conditions() -> Iterator[tuple[Condition, float, float]]:
    yield Condition("none", "none", "clean", strength=0.0), 0.87, 0.0
    for place, (family, names) in enumerate(FAMILIES.items()):
        for name in names:
            for severity in range(1, 6):
                condition = Condition(name, family, "held_out", severity=severity)
                yield condition, 0.9 - 0.1 * severity, 0.8 - 0.4 * place


def synthetic_record(
    *, severities: bool = False, num_seeds: int = 10, diverged: Sequence[int] = ()
) -> Record:
    """Five optimizers; `diverged` are the seeds under which sgd's runs did."""
    generator = np.random.default_rng(0)
    experiment = "spectral-test" if severities else "gaussian-test"
    conditions, base, size = zip(
        *(severity_conditions() if severities else strength_conditions()), strict=True
    )
    gains = np.array([gain for _, gain in OPTIMIZERS.values()])
    shape = (len(OPTIMIZERS), len(conditions), num_seeds)
    values = np.array(base)[:, None] + np.array(size)[:, None] * gains[:, None, None]
    values = values + generator.normal(0, 0.02, num_seeds) + generator.normal(0, 0.01, shape)
    lost = np.zeros((shape[0], num_seeds), bool)
    lost[-1, list(diverged)] = True
    steps = np.arange(0, 501, 20)
    curve = 2.3 * np.exp(-steps * (0.01 + 0.05 * gains[:, None])) + 0.02
    tuned_on = "random-spectrum noise" if severities else "gaussian_noise 0.5"
    return Record(
        Run(
            experiment=experiment,
            preset=experiment,
            dataset="fashion",
            model="mlp",
            num_steps=500,
            num_images=NUM_IMAGES,
            num_classes=10,
            meta_seed=0,
            meta_training=MetaTraining(500, 800_000, 154.2, 5188.0, "2 CPU cores (x86_64)"),
            provenance=Provenance(
                code_version="0.1.0",
                commit="0123456789ab",
                seeds={"meta": [0], "inner": list(range(num_seeds))},
                packages={"jax": "0.10.2", "numpy": "2.3.0", "optax": "0.2.6"},
                python="3.11.2",
                platform="Linux x86_64",
                device="2 CPU cores (x86_64)",
                command=f"noiseproof run {experiment} --out runs/x --set 'note=\"<b>&\"'",
                config={"inner": {"num_steps": 500, "batch_size": 32}, "estimator": {"std": 0.02}},
            ),
            seeds=list(range(num_seeds)),
            optimizers=[
                OptimizerEntry(name, kind, tuned_on, 32 if kind == "hand" else 0)
                for name, (kind, _) in OPTIMIZERS.items()
            ],
            conditions=list(conditions),
        ),
        Scores(
            np.rint(np.clip(values, 0, 1) * NUM_IMAGES).astype(int),
            np.where(lost[:, None], np.inf, generator.uniform(0.5, 1.5, shape)),
            np.where(lost[:, None], np.nan, generator.uniform(0, 0.2, shape)),
            lost,
        ),
        Curves(steps, curve, curve * 0.9, curve * 1.1),
    )


def with_trials(record: Record) -> Record:
    """The record with a search of each rival, of 8 random trials and a round of 8; Adam's ends
    above the learned optimizer.
    """
    names = [entry.name for entry in record.run.optimizers]
    generator = np.random.default_rng(2)
    losses = np.full((len(names), 16), np.nan)
    rounds = np.full((len(names), 16), -1)
    finals = np.full((len(names), 4), np.nan)
    for place, entry in enumerate(record.run.optimizers):
        if entry.kind == "hand":
            losses[place] = generator.uniform(0.8, 1.5, 16) - 0.05 * place
            rounds[place] = np.repeat([0, 1], 8)
            finals[place] = 0.8
    losses[names.index("adam")] += 1.0
    first, *rest = record.run.optimizers
    optimizers = [replace(first, outer_loss=0.9), *rest]
    run = replace(record.run, optimizers=optimizers)
    return record._replace(run=run, trials=Trials(losses, rounds, finals))


def with_samples(record: Record) -> Record:
    """The record with two images under its first two conditions; under the second, the first
    optimizer takes both for class 7, and the last one's run diverged.
    """
    said = np.tile([3, 5], (len(record.run.optimizers), 2, 1))
    said[0, 1], said[-1] = 7, -1
    images = np.random.default_rng(3).integers(0, 256, (2, 2, 4, 4, 1), dtype=np.uint8)
    return record._replace(samples=Samples(images, np.array([3, 5]), np.arange(2), said))


def metrics_lines(num_steps: int) -> list[MetricsLine]:
    generator = np.random.default_rng(1)
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


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    """A synthetic record; options as in `synthetic_record`."""
    return synthetic_record


@pytest.fixture(scope="session")
def make_folder() -> Callable[..., Path]:
    """A synthetic record in a given folder; options as in `synthetic_record`."""

    def make(folder: Path, *, metrics: bool = True, trials: bool = True, **options: object) -> Path:
        record = synthetic_record(**options)
        write_record(folder, with_trials(record) if trials else record)
        if metrics:
            for line in metrics_lines(100):
                append_metrics(folder / "metrics.jsonl", line)
        return folder

    return make


@pytest.fixture(scope="session")
def add_samples() -> Callable[[Record], Record]:
    """A record with sample images."""
    return with_samples


@pytest.fixture(scope="session")
def add_trials() -> Callable[[Record], Record]:
    """A record with the searches of its rivals."""
    return with_trials
