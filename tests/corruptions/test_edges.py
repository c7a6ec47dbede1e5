"""Edges against OpenCV and scikit-image, distances against SciPy.

`edges_oracle.npz` was made with OpenCV 5.0.0 and scikit-image 0.26.0: six liquid layers as spatter
draws them, their `Canny(50, 150)` edges and the water layer that follows from them; four drawn
shapes and their outlines by `skimage.feature.canny` with its defaults.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from noiseproof.corruptions.kernels import edges, spatter


@pytest.fixture(scope="module")
def oracle():
    with np.load(Path(__file__).with_name("edges_oracle.npz"), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_canny_edges_are_those_of_opencv(oracle):
    fields = jnp.asarray(oracle["fields"], jnp.float32)
    found = jax.jit(jax.vmap(lambda plane: edges.canny_edges(plane, 50.0, 150.0)))(fields)
    expected = np.unpackbits(oracle["edges"]).reshape(fields.shape)
    np.testing.assert_array_equal(found, expected)


def test_smooth_edges_are_those_of_scikit_image(oracle):
    shapes = jnp.asarray(oracle["shapes"] / 255, jnp.float32)
    found = jax.jit(jax.vmap(edges.smooth_edges))(shapes)
    expected = np.unpackbits(oracle["outlines"]).reshape(shapes.shape)
    np.testing.assert_array_equal(found, expected)


def test_the_glint_of_water_is_close_to_that_of_opencv(oracle):
    # Distances are exact here and those of a 5x5 mask there: single pixels may differ.
    fields = jnp.asarray(oracle["fields"], jnp.float32)
    glints = np.asarray(jax.jit(jax.vmap(spatter._glint))(fields))
    for found, expected in zip(glints, oracle["glints"], strict=True):
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.985
        assert np.abs(found - expected).mean() < 5


def test_distances_are_euclidean_and_cut_off():
    points = np.zeros((12, 30), bool)
    points[[2, 9, 5], [3, 25, 14]] = True
    expected = np.minimum(ndimage.distance_transform_edt(~points), 6)
    np.testing.assert_allclose(edges.distances(jnp.asarray(points), at_most=6), expected, atol=1e-5)
    empty = edges.distances(jnp.zeros((5, 5), bool), at_most=6)
    np.testing.assert_array_equal(empty, 6)


def test_weak_edges_are_followed_from_seeds_only():
    weak = np.zeros((5, 30), bool)
    weak[1, 2:12] = weak[4, 2:12] = True
    seeds = np.zeros_like(weak)
    seeds[1, 2] = True
    found = edges.follow(jnp.asarray(seeds), jnp.asarray(weak))
    assert found[1, 2:12].all()
    assert not found[4].any()
    # Half the side of a larger image, and no less than 16 pixels.
    line = jnp.ones((1, 80), bool)
    assert edges.follow(line & (jnp.arange(80) == 0), line).sum() == 41
