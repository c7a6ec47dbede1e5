"""What is held out stays out: no such corruption and no such image reaches the outer loss."""

from pathlib import Path

import jax
import jax.extend
import numpy as np
import pytest

from noiseproof.corruptions import CORRUPTIONS, FAMILIES, SPLITS
from noiseproof.experiment import conditions
from noiseproof.experiment.conditions import check_conditions, condition_roles
from noiseproof.experiment.problem import Problem, build_estimator, build_problem
from noiseproof.experiment.settings import as_dict, load_preset
from noiseproof.metatrain import Plan
from noiseproof.metatrain.outer_loop import build_steps
from noiseproof.results import Role
from noiseproof.types import Batch

SMALL = [
    "inner.num_steps=20",
    "estimator.truncation=10",
    "estimator.num_pairs=2",
    "outer.pool_size=64",
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


def config_of(images: Path, preset: str, *settings: str):
    return load_preset(preset, [f'data.name="{images.as_posix()}"', *SMALL, *settings])


def outer_step(config, problem: Problem) -> jax.extend.core.ClosedJaxpr:
    """The program of one outer step, all inner runs and their outer losses in it."""
    plan = Plan(**as_dict(config)["meta"])
    steps = build_steps(problem.objective, build_estimator(config, problem.objective), plan)
    key = jax.random.key(0)
    state = jax.eval_shape(steps.start, problem.data, key, key)
    return jax.make_jaxpr(steps.advance.__wrapped__)(state, problem.data, key)


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
    config = config_of(images, "families-fashion-mlp", f"split.held_out={fold}")
    outer_step(config, build_problem(config, None))
    assert set(called) == set(SPLITS[fold].meta_train)


def test_no_named_corruption_reaches_the_spectral_outer_loss(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(CORRUPTIONS):
        monkeypatch.setitem(CORRUPTIONS, name, refuse(name))
    config = config_of(images, "spectral-fashion-mlp")
    outer_step(config, build_problem(config, None))


def test_no_select_or_test_image_reaches_the_outer_loss(images: Path) -> None:
    """An outer step is a program of its arguments, which hold `train` and `outer` alone."""

    def marks(split: Batch) -> set[bytes]:
        return {np.asarray(image).tobytes() for image in split.images}

    config = config_of(images, "spectral-fashion-mlp")
    problem = build_problem(config, None)
    dataset = problem.dataset
    given = marks(problem.data.inner) | marks(problem.data.outer)
    assert problem.data.pool is None
    assert given == marks(dataset.train) | marks(dataset.outer)
    assert not given & (marks(dataset.select) | marks(dataset.test))
    # Nor is an image baked into the program: it holds no array as large as one.
    consts = outer_step(config, problem).consts
    assert max((np.size(const) for const in consts), default=0) < dataset.train.images[0].size


def roles_of(config, problem: Problem) -> dict[str, Role]:
    return dict(condition_roles(config, problem.outer_loss, 3))


def test_development_sees_no_held_out_corruption(images: Path) -> None:
    """On `select` a spectrum is developed on four corruptions, families on one left out."""
    config = config_of(images, "spectral-fashion-mlp", "evaluation.split=select")
    problem = build_problem(config, None)
    check_conditions(config, problem)
    assert set(roles_of(config, problem)) == set(config.evaluation.validation)
    settings = ("evaluation.split=select", 'split.left_out=["weather"]')
    config = config_of(images, "families-fashion-mlp", *settings)
    problem = build_problem(config, None)
    roles = roles_of(config, problem)
    assert {n for n, role in roles.items() if role == "validation"} == set(FAMILIES["weather"])
    assert not set(roles) & set(SPLITS["fold_1"].held_out)


def test_the_split_asked_for_is_tested_on(images: Path) -> None:
    few = ('evaluation.corruptions=["contrast"]', "evaluation.num_images=5")
    for split in ("test", "select"):
        config = config_of(images, "families-fashion-mlp", *few, f"evaluation.split={split}")
        problem = build_problem(config, None)
        clean, *others = conditions.test_sets(config, problem)
        whole = {image.tobytes() for image in getattr(problem.dataset, split).images}
        assert len(clean.batch.labels) == 5
        assert {image.tobytes() for image in clean.batch.images} <= whole
        assert [made.severity for made in others] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("preset", "settings", "message"),
    [
        ("gaussian-fashion-mlp", ["evaluation.strengths=[0.5]"], "must hold something out.*: 0.5"),
        (
            "families-fashion-mlp",
            ['evaluation.corruptions=["fog", "snow"]'],
            "must hold something out, but all of it .*: fog, snow",
        ),
        ("spectral-fashion-mlp", ["evaluation.split=train"], "split must be test or select, got"),
        ("spectral-fashion-mlp", ["evaluation.suite=all"], "suite must be one of noise_scales, na"),
        ("spectral-fashion-mlp", ["evaluation.num_images=-1"], "must not be negative, got -1"),
        ("spectral-fashion-mlp", ['evaluation.corruptions=["rain"]'], "must be among .*got rain"),
    ],
)
def test_evaluations_that_hold_nothing_out_are_refused(
    images: Path, preset: str, settings: list[str], message: str
) -> None:
    config = config_of(images, preset, *settings)
    with pytest.raises(ValueError, match=message):
        check_conditions(config, build_problem(config, None))


@pytest.mark.parametrize(
    ("trained", "asked", "message"),
    [
        (("families-fashion-mlp",), ("split.held_out=fold_2",), "must not hold out .*fog.*frost"),
        (
            ("families-fashion-mlp",),
            ("outer.kind=clean", "split.held_out="),
            "meta-trained on brightness, .*must not hold out",
        ),
        (("spectral-fashion-mlp",), ("outer.kind=clean",), "must not hold out gaussian_noise, "),
        (
            ("gaussian-fashion-mlp",),
            ("outer.std=0.3",),
            r"gaussian_noise std 0.5 .*: the evaluation must not hold out 0.5\.",
        ),
    ],
)
def test_what_theta_has_seen_is_not_called_held_out(
    images: Path, trained: tuple[str], asked: tuple[str, ...], message: str
) -> None:
    meta_trained = config_of(images, *trained)
    config = config_of(images, *trained, *asked)
    problem = build_problem(config, None)
    check_conditions(meta_trained, build_problem(meta_trained, None), meta_trained)
    with pytest.raises(ValueError, match=message):
        check_conditions(config, problem, meta_trained)
