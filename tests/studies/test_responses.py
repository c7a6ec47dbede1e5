"""What classifiers respond to, against what is known in closed form."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.rivals.frequency import cosine_basis
from noiseproof.studies import responses
from noiseproof.types import Batch, Model, TensorRole

KEY = jax.random.key(3)
HEIGHT, WIDTH = 6, 5


def linear(params: Any, images: Any) -> Any:
    """Two logits, plus and minus half a weighted sum of pixels less the middle gray."""
    score = jnp.einsum("bhwc,hw->b", images - 0.5, params)
    return jnp.stack([score, -score], axis=1) / 2


LINEAR = Model(lambda key: jnp.zeros((HEIGHT, WIDTH)), linear)


@pytest.mark.parametrize("shape", [(6, 5), (4, 4)])
def test_waves_have_two_coefficients_and_norm_one(shape: tuple[int, int]) -> None:
    """Catches waves that are not at their place: the mirrored half would then be another map."""
    for frequency in responses.half_of_waves(*shape):
        image = np.asarray(responses.wave(jnp.asarray(frequency), *shape))
        assert np.linalg.norm(image) == pytest.approx(1.0, abs=1e-5)
        there = {tuple(frequency % shape), tuple(-frequency % shape)}
        size = np.abs(np.fft.fft2(image))
        assert {tuple(place) for place in np.argwhere(size > 1e-4).tolist()} == there


def test_the_map_of_a_linear_classifier_is_the_closed_form() -> None:
    """On gray images the score under a wave is sign × norm × its product with the weights, beside a
    margin; an image errs where that is below minus the margin, so half of all do or none.
    """
    weights = jax.random.normal(KEY, (HEIGHT, WIDTH))
    margin, norm, num_images = 0.25, 0.4, 4000
    tilted = Model(LINEAR.init, lambda params, images: linear(params, images) + margin * AHEAD)
    batch = Batch(jnp.full((num_images, HEIGHT, WIDTH, 1), 0.5), jnp.zeros(num_images, jnp.int32))
    found = np.asarray(responses.fourier_map(tilted, weights, batch, norm, KEY))
    expected = np.zeros((HEIGHT, WIDTH))
    for row in range(HEIGHT):
        for column in range(WIDTH):
            is_mirror = column > WIDTH // 2
            half = (-row % HEIGHT, WIDTH - column) if is_mirror else (row, column)
            image = responses.wave(jnp.array(half), HEIGHT, WIDTH)
            place = (row + HEIGHT // 2) % HEIGHT, (column + WIDTH // 2) % WIDTH
            expected[place] = 0.5 * float(abs(norm * (image * weights).sum()) > margin)
    assert 0 < (expected > 0).sum() < expected.size
    # Four standard errors of a share of one half.
    np.testing.assert_allclose(found, expected, atol=4 * 0.5 / num_images**0.5)
    assert (found[expected == 0] == 0).all()


AHEAD = jnp.array([0.5, -0.5])


def test_signs_are_drawn_for_every_channel() -> None:
    """With both channels' weights alike, half of the images see waves that cancel."""
    model = Model(
        LINEAR.init, lambda params, images: linear(params, images.sum(-1, keepdims=True) - 0.5)
    )
    images = jnp.full((4000, HEIGHT, WIDTH, 2), 0.5)
    batch = Batch(images, jnp.zeros(4000, jnp.int32))
    weights = responses.wave(jnp.array([1, 1]), HEIGHT, WIDTH)
    # Equal logits go to the first class, the true one.
    found = responses.fourier_map(model, weights, batch, 0.3, KEY)
    assert float(found[HEIGHT // 2 + 1, WIDTH // 2 + 1]) == pytest.approx(0.25, abs=0.03)
    assert float(found[HEIGHT // 2 - 1, WIDTH // 2 - 1]) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("at", "band"), [((0, 0), 0), ((1, 0), 1), ((0, 2), 2), ((3, 1), 3), ((4, 4), 4)]
)
def test_a_cosine_lies_in_its_band(at: tuple[int, int], band: int) -> None:
    basis = cosine_basis(5)
    filters = jnp.asarray(np.outer(basis[at[0]], basis[at[1]]))[:, :, None, None]
    role = TensorRole("first", (5, 5, 1), 0.0)
    found = responses.band_energies(responses.filters_of(role, 3.0 * filters.reshape(25, 1)))
    np.testing.assert_allclose(found, np.eye(5)[band], atol=1e-5)


def test_margins_are_to_the_best_of_the_others() -> None:
    logits = jnp.array([[3.0, 1.0, 2.5], [0.0, -1.0, 4.0], [1.0, 1.0, 0.0]])
    found = responses.margins(logits, jnp.array([0, 1, 1]))
    np.testing.assert_allclose(found, [0.5, -5.0, 0.0])


def test_the_rank_of_equal_directions_is_their_number() -> None:
    """Catches squared singular values, and a mean that counts as a direction."""
    axes = jnp.eye(6)[:3] * 2.0
    features = jnp.concatenate([axes, -axes]) + jnp.arange(6.0)
    assert float(responses.effective_rank(features)) == pytest.approx(3.0, rel=1e-4)
    uneven = features.at[:, 0].add(jnp.array([1.0, 0, 0, -1.0, 0, 0]))
    shares = np.array([3.0, 2, 2]) / 7
    entropy = -(shares * np.log(shares)).sum()
    got = responses.effective_rank(uneven - uneven.mean(axis=0))
    assert float(got) == pytest.approx(np.exp(entropy), rel=1e-3)


def test_the_gradient_of_a_linear_classifier_has_its_weights_spectrum() -> None:
    weights = responses.wave(jnp.array([2, 0]), HEIGHT, WIDTH)
    batch = Batch(jax.random.uniform(KEY, (9, HEIGHT, WIDTH, 1)), jnp.arange(9) % 2)
    found = responses.gradient_spectrum(LINEAR, weights, batch)
    np.testing.assert_allclose(found, [0, 0, 1], atol=1e-5)


def test_layers_are_given_what_the_forward_pass_computes(small: Any) -> None:
    params = small.model.init(KEY)
    images = jax.random.uniform(KEY, (7, 6, 6, 1))
    first, second = responses.layer_inputs(small.model, params, images)
    np.testing.assert_array_equal(first, images.reshape(7, 36))
    hidden = jax.nn.relu(first @ params[0]["weight"] + params[0]["bias"])
    np.testing.assert_allclose(second, hidden, rtol=1e-5)
    ranks = responses.effective_ranks(small.model, params, Batch(images, jnp.zeros(7, jnp.int32)))
    np.testing.assert_allclose(ranks, [responses.effective_rank(hidden)], rtol=1e-4)
