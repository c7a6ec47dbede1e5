"""Sequences of frames: where they start, where they pass, and a tilt against the whole algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from noiseproof.corruptions import SEQUENCES, sequences

KEY = jax.random.key(0)
NUM_FRAMES = dict.fromkeys(SEQUENCES, 31) | {"motion_blur": 21, "translate": 16}


@pytest.fixture(scope="module")
def image():
    return jax.random.uniform(jax.random.key(1), (20, 16, 3))


def frames_of(name, image):
    return np.asarray(jax.jit(SEQUENCES[name])(image, KEY))


@pytest.mark.parametrize("name", SEQUENCES)
def test_frames_are_images_in_range_that_change(name, image):
    for picture in (image, image[:8, :8, :1]):
        frames = frames_of(name, picture)
        assert frames.shape == (NUM_FRAMES[name], *picture.shape)
        assert frames.dtype == np.float32
        assert frames.min() >= 0
        assert frames.max() <= 1
    steps = np.abs(np.diff(frames_of(name, image), axis=0)).max(axis=(1, 2, 3))
    # Flakes turn in whole pixels, and drops run out of a small image.
    assert (steps > 1e-3).sum() >= (8 if name in ("snow", "spatter") else len(steps))


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("gaussian_noise", 0), ("shot_noise", 0), ("zoom_blur", 0), ("brightness", 15),
        ("translate", 7), ("rotate", 15), ("scale", 15),
    ],
)  # fmt: skip
def test_a_sequence_passes_through_the_clean_image(name, frame, image):
    np.testing.assert_allclose(frames_of(name, image)[frame], image, atol=1e-5)


def test_noise_is_drawn_anew_for_each_frame_and_has_its_strength():
    grey = jnp.full((32, 32, 3), 0.5)
    for name, std in (("gaussian_noise", 0.02), ("shot_noise", np.sqrt(0.5 / 700))):
        noise = frames_of(name, grey)[1:] - 0.5
        # The standard error of a standard deviation is std / sqrt(2 n).
        assert abs(noise.std() - std) < 4 * std / np.sqrt(2 * noise.size)
        pairs = (noise[1:] * noise[:-1]).mean() / std**2
        assert abs(pairs) < 4 / np.sqrt(noise[1:].size)


def test_a_translation_moves_one_pixel_a_frame(image):
    frames = frames_of("translate", image)
    np.testing.assert_allclose(frames[10][:, 3:], image[:, :-3], atol=1e-6)
    np.testing.assert_array_equal(frames[10][:, :3], 0)
    np.testing.assert_allclose(frames[0][:, :-7], image[:, 7:], atol=1e-6)


def test_zoom_blur_is_a_running_mean_of_zooms(image):
    def zoomed(factor):
        center = (np.array(image.shape) - 1) / 2
        matrix = np.diag([1 / factor, 1 / factor, 1])
        shift = center - matrix @ center
        return ndimage.affine_transform(np.asarray(image, float), matrix, shift, order=1)

    expected = np.mean([zoomed(1 + 0.004 * k) for k in range(31)], axis=0)
    np.testing.assert_allclose(frames_of("zoom_blur", image)[30], expected, atol=1e-5)


def test_a_tilt_is_the_camera_of_the_script(image):
    height, width, _ = image.shape
    angle, focus = np.deg2rad(0.75 * 12), np.hypot(width, height)
    cos, sin = np.cos(angle), np.sin(angle)
    to_space = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1], [0, 0, 1]])
    rows = np.array([[1, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0], [0, 0, 0, 1]])
    columns = np.array([[cos, 0, -sin, 0], [0, 1, 0, 0], [sin, 0, cos, 0], [0, 0, 0, 1]])
    away = np.eye(4) + focus * np.eye(4)[:, [2]] @ np.eye(4)[[3]]
    seen = np.array([[focus, 0, width / 2, 0], [0, focus, height / 2, 0], [0, 0, 1, 0]])
    inverse = np.linalg.inv(seen @ away @ rows @ columns @ to_space)
    row, column = np.mgrid[:height, :width]
    x, y, depth = np.einsum("ij,jhw->ihw", inverse, np.stack([column, row, np.ones_like(row)]))
    expected = [
        ndimage.map_coordinates(plane, [y / depth, x / depth], order=1, mode="grid-constant")
        for plane in np.moveaxis(np.asarray(image, float), -1, 0)
    ]
    found = np.moveaxis(frames_of("tilt", image)[27], -1, 0)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_drops_run_down():
    grey = jnp.full((48, 32, 3), 0.3)
    light = (frames_of("spatter", grey) - 0.3)[..., 0]
    first, later = light[0], light[10]
    # Ten frames of four fifths of a pixel: the best overlap is eight rows further down.
    overlaps = [(first[: 48 - rows] * later[rows:]).sum() for rows in range(20)]
    assert abs(int(np.argmax(overlaps)) - 8) <= 2


def test_published_figures_are_means_over_ten():
    assert len(sequences.CIFAR_10_P) == 10
    assert set(SEQUENCES) - set(sequences.CIFAR_10_P) == {"snow"}
    assert set(sequences.AGAINST_FIRST) < set(sequences.CIFAR_10_P)
