"""What is held out stays out: no such corruption and no such image reaches the outer loss."""

from pathlib import Path

import jax
import jax.extend
import numpy as np
import pytest

from noiseproof.corruptions import CORRUPTIONS, SPLITS
from noiseproof.experiment.build import Experiment, build_experiment, check_held_out
from noiseproof.experiment.reading import load_preset
from noiseproof.experiment.settings import Settings
from noiseproof.metatrain.outer_loop import build_steps
from noiseproof.types import Batch

SMALL = [
    "inner.num_steps=20",
    "estimator.truncation=10",
    "estimator.num_pairs=2",
    "pool.size=64",
    "evaluation.num_images=0",
]
FOLDS = ("fold_1", "fold_2", "fold_3")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random color images, so that no two are alike."""
    generator = np.random.default_rng(0)
    file = tmp_path_factory.mktemp("data") / "own.npz"
    shapes = {"x_train": 100, "x_test": 30}
    np.savez(
        file,
        **{n: generator.integers(0, 256, (k, 8, 8, 3), dtype=np.uint8) for n, k in shapes.items()},
        y_train=np.arange(100, dtype=np.uint8) % 4,
        y_test=np.arange(30, dtype=np.uint8) % 4,
    )
    return file


def settings_of(images: Path, preset: str, *settings: str) -> Settings:
    return load_preset(preset, [f'data.name="{images.as_posix()}"', *SMALL, *settings])


def outer_step(experiment: Experiment) -> jax.extend.core.ClosedJaxpr:
    """The program of one outer step, all inner runs and their outer losses in it."""
    meta = experiment.meta
    steps = build_steps(meta.target, meta.estimator, experiment.plan)
    key = jax.random.key(0)
    state = jax.eval_shape(steps.start, meta.data, key, key)
    return jax.make_jaxpr(steps.advance.__wrapped__)(state, meta.data, key)


def refuse(name: str):
    def corruption(*_: object):
        raise AssertionError(f"{name} is held out")

    return corruption


@pytest.mark.parametrize("fold", FOLDS)
def test_no_held_out_family_reaches_the_outer_loss(
    images: Path, fold: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole outer step is traced, tuning scores on the same loss: a call would raise."""
    called = []

    def noted(name: str, corruption):
        return lambda *arguments: (called.append(name), corruption(*arguments))[1]

    for name, corruption in list(CORRUPTIONS.items()):
        seen = name in SPLITS[fold].meta_train
        monkeypatch.setitem(CORRUPTIONS, name, noted(name, corruption) if seen else refuse(name))
    settings = settings_of(images, "families-fashion-mlp", f"outer.fold={fold}")
    outer_step(build_experiment(settings))
    assert set(called) == set(SPLITS[fold].meta_train)


def test_no_named_corruption_reaches_the_spectral_outer_loss(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(CORRUPTIONS):
        monkeypatch.setitem(CORRUPTIONS, name, refuse(name))
    outer_step(build_experiment(settings_of(images, "spectral-fashion-mlp")))


def test_no_select_or_test_image_reaches_the_outer_loss(images: Path) -> None:
    """An outer step is a program of its arguments, which hold `train` and `outer` alone."""

    def marks(split: Batch) -> set[bytes]:
        return {np.asarray(image).tobytes() for image in split.images}

    experiment = build_experiment(settings_of(images, "spectral-fashion-mlp"))
    problem = experiment.problem
    dataset = problem.dataset
    given = marks(problem.data.inner) | marks(problem.data.outer)
    assert problem.data.pool is None
    assert given == marks(dataset.train) | marks(dataset.outer)
    assert not given & (marks(dataset.select) | marks(dataset.test))
    # Nor is an image baked into the program: it holds no array as large as one.
    consts = outer_step(experiment).consts
    assert max((np.size(const) for const in consts), default=0) < dataset.train.images[0].size


def test_development_sees_no_held_out_corruption(images: Path) -> None:
    """On `select` a spectrum is developed on four corruptions."""
    settings = settings_of(images, "spectral-fashion-mlp", "evaluation.split=select")
    roles = build_experiment(settings).conditions.roles
    assert roles == dict.fromkeys(settings.conditions.validation, "validation")
    settings = settings_of(images, "families-fashion-mlp", "evaluation.split=select")
    assert set(build_experiment(settings).conditions.roles) == set(SPLITS["fold_1"].meta_train)


def test_the_split_asked_for_is_tested_on(images: Path) -> None:
    few = ('conditions.corruptions=["contrast", "gaussian_noise"]', "evaluation.num_images=5")
    for split in ("test", "select"):
        settings = settings_of(images, "families-fashion-mlp", *few, f"evaluation.split={split}")
        experiment = build_experiment(settings)
        clean, *others = experiment.conditions.test_sets(experiment.split)
        whole = {image.tobytes() for image in getattr(experiment.problem.dataset, split).images}
        assert len(clean.batch.labels) == 5
        assert {image.tobytes() for image in clean.batch.images} <= whole
        names = ["contrast", "gaussian_noise"] if split == "test" else ["contrast"]
        severities = [(name, severity) for name in names for severity in range(1, 6)]
        assert [(made.corruption, made.severity) for made in others] == severities


@pytest.mark.parametrize(
    ("preset", "setting", "message"),
    [
        ("gaussian-fashion-mlp", "conditions.strengths=[0.5]", "must hold something out.*: '0.5'"),
        (
            "families-fashion-mlp",
            'conditions.corruptions=["fog", "snow"]',
            "must hold something out, but all of it .*: 'fog, snow'",
        ),
        ("spectral-fashion-mlp", 'conditions.corruptions=["rain"]', "must be among .*got 'rain'"),
    ],
)
def test_evaluations_that_hold_nothing_out_are_refused(
    images: Path, preset: str, setting: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build_experiment(settings_of(images, preset, setting))


@pytest.mark.parametrize(
    ("preset", "asked", "message"),
    [
        ("families-fashion-mlp", "outer.fold=fold_2", "on families: .*must not hold out .*fog"),
        ("families-fashion-mlp", "outer.kind=clean", "on families: .*must not hold out"),
        ("spectral-fashion-mlp", "outer.kind=clean", "must not hold out 'gaussian_noise, "),
        ("gaussian-fashion-mlp", "outer.std=0.3", "on gaussian: .*must not hold out '0.5'"),
    ],
)
def test_what_theta_has_seen_is_not_called_held_out(
    images: Path, preset: str, asked: str, message: str
) -> None:
    meta_trained = settings_of(images, preset)
    check_held_out(meta_trained, meta_trained, 3)
    with pytest.raises(ValueError, match=message):
        check_held_out(settings_of(images, preset, asked), meta_trained, 3)
