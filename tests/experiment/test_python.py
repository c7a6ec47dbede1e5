"""What the three calls of the main job refuse before any work, each in one line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noiseproof as npf
from noiseproof.experiment.python import Learned
from noiseproof.results import MetaTraining
from noiseproof.tasks.quadratic import quadratic

SHAPE = (4, 4, 1)


def classifier(params, image_shape=SHAPE):
    """A linear classifier that begins at some params."""

    def apply(params, images):
        rows = images.reshape(images.shape[0], -1)
        return rows[:, : len(params["w"])] @ params["w"] if params else rows[:, :3]

    model = npf.Model(lambda _key: params, apply, image_shape=image_shape)
    return npf.image_classification(
        model, batch_size=8, outer_loss=npf.spectral_noise(std=(0.1, 0.2)), pool_size=64
    )


WEIGHTS = {"w": jnp.ones((16, 3))}

REFUSED = {
    "short run": (
        WEIGHTS,
        {"num_steps": 9},
        "num_steps must be a whole number, 10 at least, got 9",
    ),
    "no whole number": (WEIGHTS, {"num_steps": 20.0}, "10 at least, got 20.0; give the length of"),
    "no weights": ({}, {}, "params must hold at least one weight, got none; give the weights"),
    "empty": ({"w": jnp.ones((0, 3))}, {}, "params must hold at least one weight, got none"),
    "whole numbers": (
        {"w": jnp.ones((16, 3), int)},
        {},
        "'w' must be a tensor of floats, got 'int",
    ),
}


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("case", REFUSED)
def test_an_objective_is_of_a_run_and_a_classifier_that_can_be_trained(case):
    """Catches a failure in the midst of compiling, in words of JAX."""
    params, options, words = REFUSED[case]
    with pytest.raises(ValueError, match=words) as refusal:
        npf.objective(classifier(params), npf.structured(), **options)
    assert "\n" not in str(refusal.value)


def test_an_objective_is_of_images_whose_shape_is_known():
    with pytest.raises(ValueError, match="The task must be one of image_classification"):
        npf.objective(quadratic(num_dimensions=2), npf.structured())
    with pytest.raises(ValueError, match="The model must say its image_shape"):
        npf.objective(classifier(WEIGHTS, None), npf.structured())


@pytest.mark.usefixtures("without_shape_checks")
def test_a_comparison_begins_with_what_was_meta_trained():
    task, key = classifier(WEIGHTS), jax.random.key(0)
    with pytest.raises(ValueError, match="The first contestant must be meta-trained, got"):
        npf.compare({"adam": npf.RIVALS["adam"]}, task, None, key)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    "rule",
    [
        npf.structured(num_knots=3),
        npf.structured(num_knots=3, augments=True),
        npf.universal(num_knots=3, counts_epochs=True, steps_per_epoch=5.0),
    ],
    ids=["plain", "augments", "counts epochs"],
)
def test_what_was_meta_trained_is_saved_and_loaded(tmp_path, rule):
    """Catches a card that `recipe` refuses, and a theta of a rule that it can not know."""
    objective = npf.objective(classifier(WEIGHTS), rule, num_steps=20)
    theta = jax.tree.map(lambda leaf: leaf + 0.1, objective.learned.init(jax.random.key(0)))
    cost = MetaTraining(1, 20, 1.0, 20.0, "1 × cpu")
    learned = Learned(objective, theta, theta, cost)
    assert learned.save(tmp_path) == tmp_path / "theta.safetensors"
    told = {"num_steps": 20, "layout": objective.layout, "steps_per_epoch": 5.0}
    loaded = npf.recipe(tmp_path, **told).optimizer
    steps = [
        optimizer.update({"w": jnp.eye(16, 3)}, optimizer.init(WEIGHTS), WEIGHTS)[0]["w"]
        for optimizer in (loaded, learned.recipe().optimizer)
    ]
    np.testing.assert_allclose(*steps, rtol=1e-6)
    assert "spectral_noise" in str(npf.card(tmp_path))
    with pytest.raises(ValueError, match="thetas of structured and universal, but this theta"):
        learned._replace(theta={"own": jnp.zeros(())}).save(tmp_path)
