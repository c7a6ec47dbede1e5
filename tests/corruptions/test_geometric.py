"""Warps against SciPy, and what the random parts of a map may do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from noiseproof.corruptions import CORRUPTIONS
from noiseproof.corruptions.kernels import geometric
from noiseproof.numerics import warps

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def image():
    return jax.random.uniform(jax.random.key(0), (20, 28, 1))


def scipy_map(image, matrix, offset=(0.0, 0.0)):
    center = (np.array(image.shape[:2]) - 1) / 2
    shift = center - np.array(matrix) @ center + np.array(offset)
    plane = np.asarray(image)[..., 0]
    return ndimage.affine_transform(plane, np.array(matrix), shift, order=1, mode="grid-constant")


def one_of(result, candidates):
    errors = [np.abs(np.asarray(result)[..., 0] - candidate).max() for candidate in candidates]
    return min(errors) < 1e-5


def test_rotate_turns_to_one_of_two_sides(image):
    turns = [[[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]] for a in (0.6, -0.6)]
    candidates = [scipy_map(image, turn) for turn in turns]
    hits = set()
    rotate = jax.jit(lambda key: geometric.rotate(image, key, radians=0.6))
    for seed in range(8):
        result = rotate(jax.random.key(seed))
        assert one_of(result, candidates)
        hits.add(one_of(result, candidates[:1]))
    assert hits == {True, False}


def test_shear_and_scale_are_linear_maps_about_the_center(image):
    slopes = [[[1, 0], [-np.tan(a), 1]] for a in (0.4, -0.4)]
    result = jax.jit(CORRUPTIONS["shear"], static_argnums=1)(image, 2, KEY)
    assert one_of(result, [scipy_map(image, slope) for slope in slopes])
    shrunk = jax.jit(CORRUPTIONS["scale"], static_argnums=1)(image, 5, KEY)
    np.testing.assert_allclose(shrunk[..., 0], scipy_map(image, 2 * np.eye(2)), atol=1e-5)


def test_translate_moves_whole_pixels_at_28_with_black_behind():
    image = jax.random.uniform(jax.random.key(0), (28, 28, 1)) + 0.1
    moved = jax.jit(CORRUPTIONS["translate"], static_argnums=1)(image, 3, KEY)
    candidates = [
        scipy_map(image, np.eye(2), (down, right)) for down in (-3, 3) for right in (-3, 3)
    ]
    assert one_of(moved, [candidate.clip(0, 1) for candidate in candidates])
    assert (moved == 0).sum() == 28 * 28 - 25 * 25


@pytest.mark.parametrize(("border", "mode"), [("symmetric", "reflect"), ("reflect", "mirror")])
def test_samples_beyond_the_border_are_mirrored_as_in_scipy(image, border, mode):
    rows = jax.random.uniform(jax.random.key(1), (20, 28), minval=-30.0, maxval=50.0)
    columns = jax.random.uniform(jax.random.key(2), (20, 28), minval=-40.0, maxval=70.0)
    plane = np.asarray(image)[..., 0]
    expected = ndimage.map_coordinates(plane, [rows, columns], order=1, mode=mode)
    result = warps.sample(image, rows, columns, border)
    np.testing.assert_allclose(result[..., 0], expected, atol=1e-4)


def test_the_affine_part_of_elastic_moves_three_points_by_what_was_drawn():
    ramp = jnp.stack(jnp.mgrid[:32, :32], -1).astype(jnp.float32)
    moves = 2.56 * np.asarray(geometric.sampling.uniform((3, 2), KEY))
    # The ramp's channels are the row and the column that each pixel was read from.
    source = np.asarray(geometric._move_three_points(ramp, 0.08, KEY))
    assert np.abs(moves).max() < 2.56
    for point, move in zip([(26, 26), (6, 26), (6, 6)], moves, strict=True):
        arrived = [
            ndimage.map_coordinates(source[..., axis], (np.array(point) + move)[:, None], order=1)
            for axis in (0, 1)
        ]
        np.testing.assert_allclose(np.ravel(arrived), point, atol=0.02)


def test_elastic_displacements_are_smooth_fields_of_their_strength():
    ramp = jnp.stack(jnp.mgrid[:64, :64], -1).astype(jnp.float32)
    strengths = {"strength": 0.05, "smoothness": 0.06, "affine": 0.0, "max_smoothness": 0.06}
    deformed = jax.jit(lambda ramp: geometric.deform(ramp, KEY, **strengths))(ramp)
    shift = np.asarray(deformed - ramp)[12:-12, 12:-12]
    # Uniform noise of variance 1/3 through a Gaussian of sigma: variance 1 / (12 pi sigma^2).
    expected = 0.05 * 64 / np.sqrt(12 * np.pi * (0.06 * 64) ** 2)
    # A patch of 40 pixels holds about (40 / (2 sigma sqrt(pi)))^2 = 8.6 independent values per
    # field: the standard error of a std of 17 values is 1 / sqrt(34) of it.
    assert abs(shift.std() / expected - 1) < 4 / np.sqrt(34)
    steps = np.abs(np.diff(shift, axis=0)).mean()
    assert steps < 0.5 * np.abs(shift).mean()


def test_random_warps_are_smooth_and_of_every_scale_up_to_the_greatest():
    """A ramp tells how far each pixel was moved down; the field's variance is known on average.

    A steep field is mostly one number, so that the square of an image has a relative variance of
    2 at most, 4.4 where its scale is drawn evenly from 0: its mean square is then a third of the
    greatest scale's. Pixels that were moved beyond the border see black: only the middle counts.
    """
    ramp = jnp.broadcast_to(jnp.arange(32.0)[:, None, None] + 1.0, (32, 32, 1))
    transform = geometric.random_warp(exponents=(2.0, 3.0), max_std=np.sqrt(3) / 32)
    warped = jax.jit(jax.vmap(lambda key: transform(ramp, key)))(jax.random.split(KEY, 200))
    moved = np.asarray(warped - ramp)[:, 8:24, 8:24, 0]
    squares = (moved**2).mean(axis=(1, 2))
    assert abs(squares.mean() - 1.0) < 4 * np.sqrt(4.4 / 200)
    assert np.quantile(squares, 0.1) < 0.05  # 0.1 if all were of one scale
    assert (np.diff(moved, axis=1) ** 2).mean() < 0.1


def test_warps_need_ranges_in_order():
    with pytest.raises(ValueError, match=r"exponents must rise from 0 or more, got 3.0 to 2.0"):
        geometric.random_warp(exponents=(3.0, 2.0), max_std=0.1)
    with pytest.raises(ValueError, match=r"max_std must not be negative, got -0.1"):
        geometric.random_warp(exponents=(2.0, 3.0), max_std=-0.1)
