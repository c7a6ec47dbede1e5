"""A mixture is the composition of a pool."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.tasks.mixtures import Component, clean, pool_sizes, shares


def parts(*weights):
    return [Component(weight, clean) for weight in weights]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((1.0,), (10,)),
        ((1.0, 3.0), (2, 8)),  # 2.5 of 10, and the rest
        ((0.2, 0.3, 0.5), (2, 3, 5)),
        ((1.0, 1.0, 1.0), (3, 4, 3)),
        ((0.02, 0.03, 0.05), (2, 3, 5)),
    ],
)
def test_sizes_are_in_proportion_and_fill_the_pool(weights, expected):
    assert pool_sizes(parts(*weights), 10) == expected


@pytest.mark.parametrize("num_parts", [2, 3, 7, 19])
def test_equal_weights_differ_by_one_image_at_most(num_parts):
    sizes = pool_sizes(parts(*[1.0] * num_parts), 100)
    assert sum(sizes) == 100
    assert max(sizes) - min(sizes) <= 1


def test_clean_leaves_the_image():
    image = jnp.linspace(0.0, 1.0, 12).reshape(2, 3, 2)
    np.testing.assert_array_equal(clean(image, jax.random.key(0)), image)


def test_no_component():
    with pytest.raises(ValueError, match="at least one component, got none"):
        pool_sizes([], 10)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_weights_must_be_positive(weight):
    with pytest.raises(ValueError, match=rf"must be positive, got \[1.0, {weight}\]"):
        pool_sizes(parts(1.0, weight), 10)


def test_a_pool_smaller_than_its_mixture():
    with pytest.raises(ValueError, match="pool_size must be at least 3, got 2"):
        pool_sizes(parts(1.0, 1.0, 1.0), 2)


def test_every_component_needs_an_image():
    with pytest.raises(ValueError, match="must give every component of the mixture an image"):
        pool_sizes(parts(1.0, 1.0, 100.0), 10)


def test_shares_sum_to_one():
    np.testing.assert_allclose(shares(parts(3.0, 1.0)), [0.75, 0.25])
