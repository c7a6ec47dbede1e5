"""A first layer that is changed answers to an image as the old one to the changed image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.layouts.layout import layout_of
from noiseproof.models import MODELS
from noiseproof.optimizers.weight_space import Strengths, moved, weight_space_augmentation
from noiseproof.types import Params

SHAPE = (6, 5, 2)
PIXELS = 60
IMAGES = jax.random.normal(jax.random.key(3), (4, *SHAPE))


def changed(strengths: Strengths, params: Params, seed: int | jax.Array = 0) -> Params:
    layout = layout_of(params, image_shape=SHAPE)
    perturb = weight_space_augmentation(strengths, layout)
    return perturb(params, lambda params: params, jax.random.key(seed))


def perceptron(weight: jax.Array) -> Params:
    """A perceptron whose first layer has these weights, and biases that are not zero."""
    units = weight.shape[1]
    first = {"bias": jnp.arange(units) / units, "weight": weight}
    return [first, {"bias": jnp.ones(3), "weight": jnp.ones((units, 3))}]


def answers(params: Params, images: jax.Array) -> jax.Array:
    return images.reshape(len(images), -1) @ params[0]["weight"] + params[0]["bias"]


@pytest.mark.parametrize("strengths", [Strengths(noise=2.0), Strengths(brightness=2.0)])
def test_what_is_added_is_an_image_that_all_units_see(strengths: Strengths) -> None:
    """Catches noise that is drawn by unit, or pixels in another order than the weights'."""
    plain = perceptron(jnp.eye(PIXELS))
    image = (changed(strengths, plain)[0]["bias"] - plain[0]["bias"]).reshape(SHAPE)
    assert float(jnp.abs(image).max()) > 0.1
    assert (float(image.std()) < 1e-6) == (strengths.noise == 0.0)
    params = perceptron(jax.random.normal(jax.random.key(1), (PIXELS, 7)))
    np.testing.assert_allclose(
        answers(changed(strengths, params), IMAGES), answers(params, IMAGES + image), atol=1e-4
    )


def test_noise_has_the_strength_that_is_said() -> None:
    plain = perceptron(jnp.eye(PIXELS))

    def biases(seed: jax.Array) -> jax.Array:
        return changed(Strengths(noise=0.5), plain, seed)[0]["bias"]

    images = jax.jit(jax.vmap(biases))(jnp.arange(200)) - plain[0]["bias"]
    # 200 fields of 60 pixels, the steep ones nearly constant: 15% is four standard errors.
    assert float(images.std()) == pytest.approx(0.5, rel=0.15)


def test_contrast_multiplies_what_the_image_gives_and_not_the_bias() -> None:
    params = perceptron(jax.random.normal(jax.random.key(1), (PIXELS, 7)))
    found = changed(Strengths(contrast=1.0), params)
    ratio = found[0]["weight"] / params[0]["weight"]
    assert float(ratio.std()) < 1e-4 * float(ratio.mean())
    assert abs(float(ratio.mean()) - 1.0) > 0.1
    np.testing.assert_array_equal(found[0]["bias"], params[0]["bias"])
    np.testing.assert_array_equal(found[1]["weight"], params[1]["weight"])


def test_a_filter_moves_by_sides_and_leaves_nothing_behind() -> None:
    filters = jnp.zeros((6, 6, 1, 1)).at[3, 3].set(1.0)
    there = moved(filters, jnp.array([1 / 3, 0.0]))
    np.testing.assert_allclose(there, jnp.zeros((6, 6, 1, 1)).at[1, 3].set(1.0), atol=1e-6)


def test_filters_that_slide_know_brightness_and_no_noise() -> None:
    """Catches a patch of noise that would be the same at every place; behind a norm not even
    brightness is added."""
    for norm, seen in ((None, True), ("group", False)):
        model = MODELS["convnet"](image_shape=SHAPE, num_classes=3, channels=(4,), norm=norm)
        params = model.init(jax.random.key(0))
        noisy = changed(Strengths(noise=5.0, motion=0.5), params)
        jax.tree.map(np.testing.assert_array_equal, noisy, params)
        bright = changed(Strengths(brightness=5.0), params)[0]["bias"]
        assert bool(jnp.any(bright != params[0]["bias"])) == seen
