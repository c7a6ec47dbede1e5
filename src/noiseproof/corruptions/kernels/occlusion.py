"""Things in front of the image: inverted stripes, dotted lines, zigzags.

The shapes are those of MNIST-C (N. Mu and J. Gilmer, 2019, arXiv 1906.02337), which has one
strength. The five severities are this package's own: stripes of 1/20 to 5/20 of the width (the
last is MNIST-C's), and one to five lines (MNIST-C has one). Lines are white in all channels, and
are drawn for an image of 28 pixels, scaled to the image's size; a number of lines between whole
ones draws the last one fainter.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from noiseproof.numerics import sampling
from noiseproof.types import Constant, Image

DRAWN_SIDE = 28
"""Pixels of the image that lines are designed for: MNIST's."""

_HALF_WIDTH = 2.3  # pixels from its middle at which a line ends
_PERIOD = 4.0  # pixels along a zigzag from one corner to the next
_SWING = 2.0  # pixels by which a corner of a zigzag leaves the straight line

Distances = Float[Array, "height width"]


def invert_stripes(image: Image, key: PRNGKeyArray, *, share: Constant) -> Image:
    """Turns two bands of columns into their negatives.

    Args:
        image: The image.
        key: Not used; nothing is random here.
        share: Of the width that each band takes; one starts at the left border, the other at three
            quarters of the width.
    """
    del key
    width = image.shape[1]
    # The share of each pixel that a band covers, so that bands of broken widths are smooth.
    index = jnp.arange(width)
    left, right = (
        jnp.clip(start + share * width - index, 0, 1) * (index >= start)
        for start in (0, 3 * width // 4)
    )
    return image + (left + right)[:, None] * (1 - 2 * image)


def draw_dotted_lines(
    image: Image, key: PRNGKeyArray, *, num_lines: Constant, max_num_lines: float
) -> Image:
    """Dotted lines from the left border to the right one, at random heights."""
    return _draw(image, _dotted_line, num_lines, max_num_lines, key)


def draw_zigzags(
    image: Image, key: PRNGKeyArray, *, num_lines: Constant, max_num_lines: float
) -> Image:
    """Zigzags from left to right, nearly level, at random heights."""
    return _draw(image, _zigzag, num_lines, max_num_lines, key)


def _draw(
    image: Image,
    line: Callable[[Distances, Distances, PRNGKeyArray], Distances],
    num_lines: Constant,
    max_num_lines: float,
    key: PRNGKeyArray,
) -> Image:
    height, width, _ = image.shape
    rows, columns = jnp.mgrid[:height, :width].astype(jnp.float32)
    # Pixels of the drawn image: 28 positions over each side.
    rows, columns = rows * DRAWN_SIDE / height, columns * DRAWN_SIDE / width
    keys = jax.random.split(key, math.ceil(max_num_lines))
    drawn = jax.vmap(lambda one_key: line(rows, columns, one_key))(keys)
    shown = jnp.clip(num_lines - jnp.arange(len(keys)), 0, 1)
    return image + jnp.einsum("n,nij->ij", shown, drawn)[..., None]


def _piece(
    rows: Distances, columns: Distances, start: Float[Array, "2"], end: Float[Array, "2"]
) -> Distances:
    """A straight line between two points (row, column), brightest in its middle.

    It covers whole columns from the one that it starts in up to, not including, the one that it
    ends in; its brightness falls with the vertical distance.
    """
    slope = (end[0] - start[0]) / (end[1] - start[1])
    distance = jnp.abs(rows - start[0] - slope * (columns - start[1]))
    near = jnp.minimum(distance / _HALF_WIDTH, 1 - 1e-6)
    inside = (columns >= jnp.floor(start[1])) & (columns < jnp.ceil(end[1]))
    return inside * jnp.clip(1 + jnp.log1p(-near), 0.0, 1.0)


def _dotted_line(rows: Distances, columns: Distances, key: PRNGKeyArray) -> Distances:
    last = DRAWN_SIDE - 1
    left, right = sampling.integers(0, last, (2,), key).astype(jnp.float32)
    line = _piece(
        rows,
        columns,
        jnp.stack([left, jnp.zeros(())]),
        jnp.stack([right, jnp.full((), last, jnp.float32)]),
    )
    # Columns go on and off in pairs, the first pair off.
    return line * jnp.mod(jnp.floor(columns / 2), 2)


def _zigzag(rows: Distances, columns: Distances, key: PRNGKeyArray) -> Distances:
    start_key, rise_key = jax.random.split(key)
    start = sampling.integers(0, DRAWN_SIDE - 1, (), start_key)
    rise = sampling.integers(-5, 5, (), rise_key).astype(jnp.float32)
    left, right = 2.0, DRAWN_SIDE - 3.0
    length = jnp.hypot(right - left, rise)
    along, across = (right - left) / length, rise / length
    # Corners at 2, 6, 10 ... along the segment, to one side and the other, then its end: the
    # segment is 23 to 23.5 long, which makes six corners.
    stops = jnp.concatenate([jnp.zeros(1), _PERIOD * jnp.arange(6.0) + 2.0, length[None]])
    swing = jnp.asarray([0.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 0.0]) * _SWING
    corners = jnp.stack(
        [start + stops * across + swing * along, left + stops * along - swing * across], axis=-1
    )
    pieces = jax.vmap(lambda one, other: _piece(rows, columns, one, other))
    # Where two pieces share a column they add up, as in the original.
    return pieces(corners[:-1], corners[1:]).sum(axis=0).clip(0.0, 1.0)
