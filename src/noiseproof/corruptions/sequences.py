"""Sequences of small changes, over which a prediction should not flip: those of CIFAR-10-P.

D. Hendrycks and T. Dietterich, 2019, arXiv 1903.12261, with the constants of the 32-pixel script.
A sequence turns one image into many frames: noise is drawn anew for each and compared with the
first, clean one, all others change step by step and are compared with the one before. Lengths are
in pixels at any size; maps turn about the center of the image, with black beyond the border.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from noiseproof.corruptions.kernels import noise, photometric
from noiseproof.corruptions.kernels.blur import smear
from noiseproof.corruptions.kernels.geometric import resample, rotation
from noiseproof.corruptions.kernels.spatter import lay_water
from noiseproof.corruptions.kernels.weather import draw_flakes, lay_snow
from noiseproof.corruptions.numerics import sampling
from noiseproof.corruptions.numerics.filters import gaussian_blur
from noiseproof.corruptions.numerics.warps import sample
from noiseproof.types import Image, ImageTransform

NUM_FRAMES = 31
"""Of most sequences; a motion blur has 21, a translation 16."""

Frames = Float[Array, "frames height width channels"]


def gaussian_noise(image: Image, key: PRNGKeyArray) -> Frames:
    """The clean image, then normal noise of standard deviation 0.02."""
    return _drawn_anew(
        image, lambda image, key: noise.add_gaussian_noise(image, key, std=0.02), key
    )


def shot_noise(image: Image, key: PRNGKeyArray) -> Frames:
    """The clean image, then Poisson counts of up to 700 photons."""
    return _drawn_anew(image, lambda image, key: noise.add_shot_noise(image, key, photons=700), key)


def motion_blur(image: Image, key: PRNGKeyArray) -> Frames:
    """A motion blur that turns from -180 to 0 degrees."""
    del key  # nothing is random here
    angles = np.deg2rad(9.0 * (np.arange(21) - 20))
    return _over(angles, lambda angle: smear(image, angle, radius=6, sigma=1.8, max_sigma=1.8))


def zoom_blur(image: Image, key: PRNGKeyArray) -> Frames:
    """The mean of the image and its zooms by 1.004, 1.008 ... of which each frame has one more."""
    del key  # nothing is random here
    zooms = _over(1 + 0.004 * np.arange(NUM_FRAMES), lambda factor: _zoomed(image, factor))
    return jnp.cumsum(zooms, axis=0) / np.arange(1, NUM_FRAMES + 1)[:, None, None, None]


def snow(image: Image, key: PRNGKeyArray) -> Frames:
    """The same flakes, whose fall turns from -150 to -30 degrees."""
    height, width, _ = image.shape
    flakes = draw_flakes(height, width, 0.05, 0.3, 2.0, 0.5, key)

    def frame(angle: Array) -> Image:
        streaks = smear(flakes, angle, radius=10, sigma=2.0, max_sigma=2.0)
        return lay_snow(image, streaks, mix=0.85)

    return _over(np.deg2rad(4.0 * np.arange(NUM_FRAMES) - 150), frame)


def spatter(image: Image, key: PRNGKeyArray) -> Frames:
    """Drops of water that run down, four fifths of a pixel a frame."""
    height, width, _ = image.shape
    field = 0.6 + 0.265 * sampling.normal((height, width, 1), key)
    soft = gaussian_blur(field, 1.75, max_sigma=1.75)[..., 0]

    def run_down(liquid: Array, _: None) -> tuple[Array, Array]:
        return 0.2 * liquid + 0.8 * jnp.pad(liquid[:-1], ((1, 0), (0, 0))), liquid

    _, liquids = jax.lax.scan(run_down, jnp.where(soft < 0.7, 0.0, soft), length=NUM_FRAMES)
    return _over(liquids, lambda liquid: lay_water(image, liquid, 0.6))


def brightness(image: Image, key: PRNGKeyArray) -> Frames:
    """The largest channel shifted by -0.225 to 0.225."""
    shifts = 0.015 * (np.arange(NUM_FRAMES) - 15)
    return _over(shifts, lambda shift: photometric.brighten(image, key, shift=shift))


def translate(image: Image, key: PRNGKeyArray) -> Frames:
    """Moved sideways, from 7 pixels to one side to 8 pixels to the other."""
    del key  # nothing is random here
    steps = np.arange(16.0) - 7
    return _over(steps, lambda step: resample(image, jnp.eye(2), jnp.stack([0.0 * step, -step])))


def rotate(image: Image, key: PRNGKeyArray) -> Frames:
    """Turned by -15 to 15 degrees."""
    del key  # nothing is random here
    angles = np.deg2rad(np.arange(NUM_FRAMES) - 15.0)
    return _over(angles, lambda angle: resample(image, rotation(angle), jnp.zeros(2)))


def tilt(image: Image, key: PRNGKeyArray) -> Frames:
    """Tilted by -11.25 to 11.25 degrees about both axes, seen from one diagonal away."""
    del key  # nothing is random here
    height, width, _ = image.shape
    points = jnp.stack([*jnp.mgrid[:height, :width][::-1], jnp.ones((height, width))])

    def frame(matrix: Array) -> Image:
        column, row, depth = jnp.einsum("ij,jhw->ihw", matrix, points)
        return sample(image, row / depth, column / depth, "zero")

    angles = np.deg2rad(0.75 * (np.arange(NUM_FRAMES) - 15))
    return _over(np.stack([_tilt_matrix(height, width, angle) for angle in angles]), frame)


def scale(image: Image, key: PRNGKeyArray) -> Frames:
    """Scaled by 0.70 to 1.30."""
    del key  # nothing is random here
    return _over(0.7 + 0.02 * np.arange(NUM_FRAMES), lambda factor: _zoomed(image, factor))


SEQUENCES: dict[str, Callable[[Image, PRNGKeyArray], Frames]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "spatter": spatter,
    "brightness": brightness,
    "translate": translate,
    "rotate": rotate,
    "tilt": tilt,
    "scale": scale,
}
"""All by name, each called as `(image, key) -> frames` in [0, 1]."""

AGAINST_FIRST: tuple[str, ...] = ("gaussian_noise", "shot_noise")
"""Those whose frames are no path."""

CIFAR_10_P: tuple[str, ...] = tuple(name for name in SEQUENCES if name != "snow")
"""The ten that published figures are means over: spatter stands for the snow of the paper."""


def _over(values: np.ndarray | Array, frame: Callable[[Array], Image]) -> Frames:
    return jax.vmap(frame)(jnp.asarray(values, jnp.float32)).clip(0.0, 1.0)


def _drawn_anew(image: Image, transform: ImageTransform, key: PRNGKeyArray) -> Frames:
    keys = jax.random.split(key, NUM_FRAMES - 1)
    noisy = jax.vmap(lambda one_key: transform(image, one_key))(keys)
    return jnp.concatenate([image[None], noisy]).clip(0.0, 1.0)


def _zoomed(image: Image, factor: Array) -> Image:
    return resample(image, jnp.eye(2) / factor, jnp.zeros(2))


def _tilt_matrix(height: int, width: int, angle: float) -> np.ndarray:
    """From a pixel (column, row, 1) of the tilted image to that of the flat one, up to a factor."""
    cos, sin, distance = math.cos(angle), math.sin(angle), math.hypot(width, height)
    flat = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1.0]])
    # In space: about the vertical axis, then about the horizontal one; the image is at depth 1.
    columns = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    rows = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    moved = rows @ columns @ flat + np.array([[0, 0, 0], [0, 0, 0], [0, 0, distance]])
    seen = np.array([[distance, 0, width / 2], [0, distance, height / 2], [0, 0, 1]])
    return np.linalg.inv(seen @ moved)
