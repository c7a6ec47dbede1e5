"""Stripes, dotted lines and zigzags cover what they say."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from noiseproof.corruptions import CORRUPTIONS
from noiseproof.corruptions.kernels import occlusion

BLACK = jnp.zeros((28, 28, 1))
KEY = jax.random.key(1)


def test_stripes_of_mnist_c_invert_columns_0_to_6_and_21_to_27():
    image = jax.random.uniform(jax.random.key(0), (28, 28, 1))
    striped = jax.jit(CORRUPTIONS["mnist/stripe"], static_argnums=1)(image, 1, jax.random.key(0))
    inverted = np.isclose(striped, 1 - image, atol=1e-6).all(axis=(0, 2))
    assert np.flatnonzero(inverted).tolist() == [*range(7), *range(21, 28)]
    kept = np.isclose(striped, image, atol=1e-6).all(axis=(0, 2))
    assert np.flatnonzero(kept).tolist() == list(range(7, 21))


def test_dotted_lines_come_in_pairs_of_columns_and_fade_from_their_middle():
    line = np.asarray(
        jax.jit(CORRUPTIONS["mnist/dotted_line"], static_argnums=1)(BLACK, 1, jax.random.key(3))
    )[..., 0]
    lit = np.flatnonzero(line.any(axis=0))
    assert lit.tolist() == [c for c in range(27) if c // 2 % 2 == 1]
    # ln(1 - d / 2.3) reaches -1 at d = 1.45: three rows at most.
    assert (line > 0).sum(axis=0).max() <= 3
    assert line.max() > 0.7


def slow_zigzag(start, rise):
    """Point by point from its description, in 64-bit floats."""
    length = np.hypot(23, rise)
    points = [(0.0, 0.0)]
    points += [(2.0 + 4 * i, 2.0 * (-1) ** i) for i in range(int((length - 2) // 4) + 1)]
    points += [(length, 0.0)]
    turn = np.array([[23, -rise], [rise, 23]]) / length
    corners = [turn @ np.array(point) + (2.0, start) for point in points]
    image = np.zeros((28, 28))
    for (c0, r0), (c1, r1) in itertools.pairwise(corners):
        for column in range(int(np.floor(c0)), int(np.ceil(c1))):
            for row in range(28):
                distance = abs(row - r0 - (r1 - r0) / (c1 - c0) * (column - c0))
                if distance < 2.3:
                    image[row, column] += np.clip(1 + np.log(1 - distance / 2.3), 0, 1)
    return image.clip(0, 1)


def test_a_zigzag_is_the_one_of_its_description():
    rows, columns = jnp.mgrid[:28, :28].astype(jnp.float32)
    candidates = [slow_zigzag(start, rise) for start in range(27) for rise in range(-5, 5)]
    keys = jax.random.split(jax.random.key(0), 6)
    draw = jax.jit(jax.vmap(lambda key: occlusion._zigzag(rows, columns, key)))
    for drawn in draw(keys):
        assert min(np.abs(drawn - candidate).max() for candidate in candidates) < 1e-3


def test_severities_draw_one_to_five_lines_and_fractions_faint_ones():
    for name in ("dotted_line", "zigzag"):
        apply = CORRUPTIONS[name].apply
        draw = jax.jit(lambda n, apply=apply: apply(BLACK, KEY, num_lines=n, max_num_lines=5.0))
        sums = [float(draw(float(n)).sum()) for n in range(1, 6)]
        assert np.all(np.diff(sums) > 0)
        np.testing.assert_allclose(draw(1.5).sum(), (sums[0] + sums[1]) / 2, rtol=1e-4)
