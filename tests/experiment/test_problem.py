"""What sections of the settings come to."""

import typing

import jax
import jax.numpy as jnp
import pytest

from noiseproof.corruptions.families import SPLITS
from noiseproof.data import image_shape, load_dataset
from noiseproof.experiment.augmentations import AUGMENTATIONS, one_after_another
from noiseproof.experiment.build import build_experiment
from noiseproof.experiment.choices import built
from noiseproof.experiment.meta_problem import build_estimator
from noiseproof.experiment.problem import build_problem
from noiseproof.experiment.reading import with_settings
from noiseproof.experiment.settings import Inner
from noiseproof.metatrain import ESTIMATORS, Objective, recipe_of
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.tasks.mixtures import mix
from noiseproof.tasks.outer_losses import OUTER_LOSSES, OuterLoss
from noiseproof.tasks.quadratic import quadratic
from noiseproof.zoo.loading import load_learned

OBJECTIVE = Objective(
    quadratic(num_dimensions=2), LEARNED_OPTIMIZERS["nominal_mlp"](), None, num_steps=20
)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_every_estimator_takes_the_settings_that_it_has(kind: str) -> None:
    """Seen by its inner steps: runs times steps."""
    count = "num_runs=7" if kind.endswith("backprop") else "num_pairs=3"
    settings = [f"estimator.kind={kind}", f"estimator.{count}"]
    num_steps = 20
    if kind not in ("es", "full_backprop"):
        settings.append("estimator.truncation=5")
        num_steps = 5
    num_runs = 7 if kind.endswith("backprop") else 2 * 3
    found = build_estimator(with_settings({}, settings, "settings"), OBJECTIVE)
    assert found.num_inner_steps == num_runs * num_steps


@pytest.mark.parametrize(("model", "in_turn"), [("mlp", False), ("convnet", True)])
def test_runs_of_a_convnet_go_in_turn_on_a_cpu(model: str, in_turn: bool) -> None:
    """Catches a placement that is not asked for, which costs convnets three times their time."""
    problem = build_problem(with_settings({}, [f"model.kind={model}"], "settings"), None)
    expected = in_turn and jax.default_backend() == "cpu"
    assert problem.objective.placement.in_turn == expected


def test_run_lengths_reach_the_estimator() -> None:
    """Those of a curriculum that has not begun are short, where `num_steps` allows for four."""
    settings = [
        *("estimator.kind=truncated_backprop", "estimator.num_runs=7", "estimator.truncation=5"),
        "run_length={kind='curriculum', shortest=4, num_growing=100}",
    ]
    estimator = build_estimator(with_settings({}, settings, "settings"), OBJECTIVE)
    theta = OBJECTIVE.learned.init(jax.random.key(0))
    state = estimator.init(theta, None, jax.random.key(1))
    assert state.num_truncations.tolist() == [1] * 7


def test_training_images_go_through_one_augmentation_after_the_other() -> None:
    """Catches a setting that no training image sees, and an order that is turned round: noise is
    not black beyond an image that was moved before."""
    allowed, _ = typing.get_args(Inner.__annotations__["augmentations"])
    assert set(typing.get_args(allowed)) == set(AUGMENTATIONS)
    loss = outer_loss(1, "outer={kind='gaussian', std=0.2}")
    mixture = one_after_another(["flips_and_crops", "gaussian_noise"], loss)
    after = mix(mixture, jnp.ones((400, 8, 8, 1)), jax.random.key(0))
    edge = after[:, 0, 0, 0]
    assert not (edge == 0).any()
    assert (edge < 0.5).any()
    assert (edge > 0.5).any()
    assert one_after_another([], loss) == ()


def test_a_run_trains_on_augmented_images_where_its_settings_say_so() -> None:
    """Catches a setting that no training image is touched by."""
    losses = []
    for names in ("[]", "['flips_and_crops']"):
        settings = with_settings({}, [f"inner.augmentations={names}"], "settings")
        problem = build_problem(settings, None)
        task, key = problem.objective.task, jax.random.key(0)
        losses.append(float(task.loss(task.init(key), problem.data, key)))
    assert losses[0] != losses[1]


def test_an_augmented_image_counts_as_a_new_one() -> None:
    """Catches a rule that is told of epochs in which no image comes twice."""
    theta = load_learned("universal", 1.0).theta

    def update(names: str, num_images: int) -> float:
        settings = (
            "rule={kind='universal', counts_epochs=true}",
            *(f"inner.augmentations={names}", f"data.num_images={num_images}"),
        )
        objective = build_problem(with_settings({}, settings, "settings"), None).objective
        params = objective.task.init(jax.random.key(0))
        optimizer = recipe_of(objective, theta).optimizer
        updates, _ = optimizer.update(params, optimizer.init(params), params)
        return float(sum(abs(leaf).sum() for leaf in jax.tree.leaves(updates)))

    assert update("['flips_and_crops']", 100) == update("['flips_and_crops']", 800)
    assert update("[]", 100) != update("[]", 800)


def outer_loss(num_channels: int, *settings: str) -> OuterLoss:
    return built(
        OUTER_LOSSES, with_settings({}, settings, "settings").outer, num_channels=num_channels
    )


def test_an_outer_loss_is_that_of_its_kind() -> None:
    gaussian = outer_loss(1, "outer={kind='gaussian', std=0.2, clean=0}")
    assert (gaussian.words, gaussian.noise_std) == ("gaussian_noise std 0.2", 0.2)
    spectral = outer_loss(1, "outer.num_bands=2")
    assert len(spectral.components) == 2 + 2
    assert outer_loss(1, "outer.kind=clean").words == "clean images"
    color, gray = (outer_loss(n, "outer={kind='families', fold='fold_1'}") for n in (3, 1))
    assert color.seen == SPLITS["fold_1"].meta_train
    assert set(color.seen) - set(gray.seen) == {"saturate"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("outer={kind='families', fold='x'}", "fold must be one of without_noise, .*got 'x'"),
        ("outer.clean=2", r"clean must be a number <= 1\.0, got 2"),
        ("outer={clean=0.8, warped=0.4}", "clean and warped must add up to at most 1, got 1.2"),
        ("outer.num_bands=0", r"num_bands must be a whole number >= 1, got 0"),
        ("outer.num_bands=1000000", r"num_bands must lie in \[1, 16\], got 1000000"),
        ("outer.std=[0.3, 0.1]", "std"),
        ("outer.std=[-1, 0.1]", "std"),
        ("outer.warp_std=-1", "std"),
    ],
)
def test_bad_outer_losses_are_named(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        outer_loss(1, setting)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ('controls=["loud"]', "controls must be among clean, gaussian, .*got 'loud'"),
        ('tuning.rivals=["adam", "adam"]', "tuning.rivals must name each at most once"),
        ('tuning.augmentations=["fog"]', "tuning.augmentations must be among gaussian_noise"),
        (
            'tuning.augmented_rivals=["adan"]',
            r"augmented_rivals must be among .*Did you mean adam\?",
        ),
        ("meta.warmup_share=1", r"warmup_share must lie in \[0, 1\), got 1"),
        ("conditions={corruptions=['rain']}", "corruptions must be among .*got 'rain'"),
        ("conditions={kind='noise_scales', strengths=[]}", "strengths must be positive noise"),
        ("estimator.truncation=30", "truncation must divide num_steps"),
    ],
)
def test_what_does_not_fit_is_named_before_anything_runs(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_experiment(with_settings({}, [setting], "settings"))


def test_a_standardized_classifier_sees_images_of_mean_zero() -> None:
    """On the training images: with all pixels at their mean, only biases are left."""
    dataset = load_dataset("digits")
    mean = dataset.train.images.mean() / 255.0
    images = jnp.full((1, *image_shape(dataset)), mean, jnp.float32)
    for standardize, seen in (("true", False), ("false", True)):
        settings = with_settings(
            {}, ["model.hidden_sizes=[]", f"data.standardize={standardize}"], "settings"
        )
        model = build_problem(settings, None).model
        logits = model.apply(model.init(jax.random.key(0)), images)
        assert (float(jnp.abs(logits).max()) > 1e-4) == seen
