"""What the settings of an estimator come to."""

import jax
import jax.numpy as jnp
import pytest

from noiseproof.corruptions.families import FAMILIES, SPLITS
from noiseproof.data import load_dataset
from noiseproof.experiment.problem import (
    build_estimator,
    build_model,
    build_outer_loss,
    corruption_split,
)
from noiseproof.experiment.settings import default_config
from noiseproof.metatrain import ESTIMATORS, Objective
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.tasks.quadratic import quadratic

OBJECTIVE = Objective(
    quadratic(num_dimensions=2), LEARNED_OPTIMIZERS["nominal_mlp"](), None, num_steps=20
)
SETTINGS = ["estimator.truncation=5", "estimator.num_pairs=3", "estimator.num_runs=7"]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_takes_the_settings_that_it_has(name: str) -> None:
    """Seen by its inner steps: runs times steps."""
    config = default_config([f"estimator.name={name}", *SETTINGS])
    num_runs = 7 if name.endswith("backprop") else 2 * 3
    num_steps = 20 if name in ("es", "full_backprop") else 5
    assert build_estimator(config, OBJECTIVE).num_inner_steps == num_runs * num_steps


def test_an_unknown_estimator() -> None:
    config = default_config(["estimator.name=guess"])
    with pytest.raises(ValueError, match="guess must be one of es, tes, pes"):
        build_estimator(config, OBJECTIVE)


def test_run_lengths_reach_the_estimator() -> None:
    """Those of a curriculum that has not begun are short, where `num_steps` allows for four."""
    settings = [
        *SETTINGS,
        "estimator.name=truncated_backprop",
        "estimator.run_length=curriculum",
        "estimator.run_length_options.shortest=4",
        "estimator.run_length_options.num_growing=100",
    ]
    estimator = build_estimator(default_config(settings), OBJECTIVE)
    theta = OBJECTIVE.learned.init(jax.random.key(0))
    state = estimator.init(theta, None, jax.random.key(1))
    assert state.num_truncations.tolist() == [1] * 7


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("estimator.run_length=long", "long must be one of constant, log_uniform, curriculum"),
        ("estimator.run_length_options.shortest=4", "constant has no option shortest"),
    ],
)
def test_unknown_run_lengths(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_estimator(default_config([setting, "estimator.truncation=5"]), OBJECTIVE)


FAMILIES_SETTINGS = ["outer.kind=families", "split.held_out=fold_1"]


def test_an_outer_loss_takes_the_settings_that_it_has() -> None:
    gaussian = build_outer_loss(default_config(["outer.std=0.2", "outer.std_low=9"]), 1)
    assert gaussian.words == "gaussian_noise std 0.2"
    spectral = build_outer_loss(default_config(["outer.kind=spectral", "outer.num_bands=2"]), 1)
    assert len(spectral.components) == 2
    assert build_outer_loss(default_config(["outer.kind=clean"]), 1).words == "clean images"


def test_families_are_those_of_the_fold_that_make_sense_on_the_images() -> None:
    config = default_config(FAMILIES_SETTINGS)
    assert build_outer_loss(config, 3).seen == SPLITS["fold_1"].meta_train
    assert set(SPLITS["fold_1"].meta_train) - set(build_outer_loss(config, 1).seen) == {"saturate"}


def test_a_family_left_out_is_on_neither_side() -> None:
    split = corruption_split(default_config([*FAMILIES_SETTINGS, 'split.left_out=["weather"]']))
    assert split.held_out == SPLITS["fold_1"].held_out
    assert set(split.meta_train) == set(SPLITS["fold_1"].meta_train) - set(FAMILIES["weather"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["outer.kind=loud"], "loud must be one of clean, gaussian, spectral, families"),
        (["outer.kind=families"], "needs a split: set split.held_out"),
        (["split.held_out=fold_9"], "split.held_out must be one of without_noise, .*got fold_9"),
        (
            [*FAMILIES_SETTINGS, 'split.left_out=["blur"]'],
            "split.left_out must be among photometric, weather, .*got blur",
        ),
        (["outer.clean_weight=2"], "outer.clean_weight must lie in"),
    ],
)
def test_bad_outer_losses_are_named(settings: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_outer_loss(default_config(settings), 1)


def test_a_standardized_classifier_sees_images_of_mean_zero() -> None:
    """On the training images: with all pixels at their mean, only biases are left."""
    linear = ["model.options.hidden_sizes=[]"]
    dataset = load_dataset("digits")
    mean = dataset.train.images.mean() / 255.0
    images = jnp.full((1, 8, 8, 1), mean, jnp.float32)
    for standardize, seen in (("true", False), ("false", True)):
        config = default_config([*linear, f"data.standardize={standardize}"])
        model = build_model(config, dataset)
        logits = model.apply(model.init(jax.random.key(0)), images)
        assert bool((jnp.abs(logits) > 1e-3).any()) == seen
