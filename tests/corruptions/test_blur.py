"""Blurs against SciPy and against slow loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from noiseproof.corruptions import CORRUPTIONS
from noiseproof.corruptions.kernels import blur, glass
from noiseproof.numerics import filters

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def image():
    return jax.random.uniform(jax.random.key(0), (32, 32, 3))


def run(name, image, severity):
    return np.asarray(jax.jit(lambda image: CORRUPTIONS[name](image, severity, KEY))(image))


@pytest.mark.parametrize(("severity", "sigma"), [(1, 0.4), (3, 0.7), (5, 1.0)])
def test_gaussian_blur_is_that_of_scipy(image, severity, sigma):
    expected = ndimage.gaussian_filter(np.asarray(image), (sigma, sigma, 0), mode="nearest")
    np.testing.assert_allclose(run("gaussian_blur", image, severity), expected, atol=1e-5)


@pytest.mark.parametrize(("sigma", "size"), [(0.0, 9), (6.0, 8), (2.0, 32)])
def test_a_gaussian_wider_than_the_image_counts_its_border_again(sigma, size):
    matrix = filters.gaussian_matrix(size, sigma, max_sigma=6.0, border="edge")
    # SciPy divides by sigma; 0 is its identity by another way.
    expected = np.eye(size)
    if sigma:
        expected = ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode="nearest")
    np.testing.assert_allclose(matrix, expected, atol=1e-6)


@pytest.mark.parametrize(("sigma", "size"), [(25.0, 9), (3.0, 8)])
def test_a_gaussian_wider_than_the_image_sees_its_mirror_images(sigma, size):
    matrix = filters.gaussian_matrix(size, sigma, max_sigma=25.0, border="symmetric", truncate=3.0)
    expected = ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode="reflect", truncate=3.0)
    np.testing.assert_allclose(matrix, expected, atol=1e-6)


def test_a_wide_defocus_blur_is_the_softened_disk_of_the_script(image):
    # Severity 4 of ImageNet-C: the disk of 8 pixels fills its frame of 17.
    square = np.arange(-8, 9) ** 2
    disk = (square[:, None] + square <= 64) / (square[:, None] + square <= 64).sum()
    weights = np.exp(-(np.arange(-1, 2) ** 2) / (2 * 0.5**2))
    weights /= weights.sum()
    kernel = ndimage.correlate(disk, np.outer(weights, weights), mode="mirror")
    expected = ndimage.correlate(np.asarray(image), kernel[..., None], mode="mirror").clip(0, 1)
    # Mirrored, the frame has 1.5 percent of the light at its poles; here it is all over the disk.
    np.testing.assert_allclose(run("imagenet/defocus_blur", image, 4), expected, atol=0.01)
    assert abs(run("imagenet/defocus_blur", image, 4).mean() - expected.mean()) < 5e-4


def test_defocus_blur_is_a_plus_then_a_box(image):
    for severity, footprint in [(4, [[0, 1, 0], [1, 1, 1], [0, 1, 0]]), (5, np.ones((3, 3)))]:
        kernel = np.array(footprint, float)[..., None]
        expected = ndimage.correlate(np.asarray(image), kernel / kernel.sum(), mode="mirror")
        np.testing.assert_allclose(run("defocus_blur", image, severity), expected, atol=1e-4)


def slow_motion(image, angle, radius, sigma):
    weights = [np.exp(-(i**2) / (2 * sigma**2)) for i in range(2 * radius + 1)]
    result = np.zeros_like(image)
    height, width, _ = image.shape
    for i, weight in enumerate(weights):
        down, right = np.ceil(i * np.sin(angle) - 0.5), np.ceil(i * np.cos(angle) - 0.5)
        rows = np.clip(np.arange(height) + int(down), 0, height - 1)
        columns = np.clip(np.arange(width) + int(right), 0, width - 1)
        result += weight / sum(weights) * image[rows][:, columns]
    return result


@pytest.mark.parametrize("angle", [-0.7, 0.0, 0.3])
def test_smear_is_the_whole_line_up_to_its_cut_tail(image, angle):
    fast = blur.smear(image, angle, radius=9, sigma=2.5, max_sigma=2.5)
    # What is cut beyond four sigmas weighs less than 4e-4 of the line.
    np.testing.assert_allclose(fast, slow_motion(np.asarray(image), angle, 9, 2.5), atol=4e-4)
    short = blur.smear(image, angle, radius=2, sigma=2.5, max_sigma=2.5)
    np.testing.assert_allclose(short, slow_motion(np.asarray(image), angle, 2, 2.5), atol=1e-5)


def slow_zoom(image, factor):
    size = len(image)
    crop = int(np.ceil(size / factor))
    top = (size - crop) // 2
    middle = image[top : top + crop, top : top + crop]
    stretched = ndimage.zoom(middle, (factor, factor, 1), order=1)
    trim = (len(stretched) - size) // 2
    return stretched[trim : trim + size, trim : trim + size]


@pytest.mark.parametrize("factor", [1.01, 1.06, 1.11, 1.15, 1.2, 1.75, 2.25])
def test_a_zoom_is_a_matrix_along_rows_and_one_along_columns(image, factor):
    matrix = filters.zoom_matrix(32, factor)
    expected = slow_zoom(np.asarray(image), factor)
    np.testing.assert_allclose(filters.separable(image, matrix, matrix), expected, atol=1e-5)


@pytest.mark.parametrize(("severity", "last"), [(1, 1.06), (3, 1.16), (5, 1.26)])
def test_zoom_blur_is_the_mean_of_the_script(image, severity, last):
    pixels = np.asarray(image, np.float64)
    factors = np.arange(1, last, 0.01)
    assert len(factors) == dict(CORRUPTIONS["zoom_blur"].tables)["num_zooms"][severity - 1]
    expected = (pixels + sum(slow_zoom(pixels, z) for z in factors)) / (len(factors) + 1)
    np.testing.assert_allclose(run("zoom_blur", image, severity), expected, atol=1e-5)


@pytest.mark.parametrize(("severity", "last", "step"), [(2, 1.16, 0.01), (5, 1.31, 0.03)])
def test_zoom_blur_of_imagenet_is_the_mean_of_the_script(severity, last, step):
    pixels = np.random.default_rng(0).random((56, 56, 1))
    factors = np.arange(1, last, step)
    expected = (pixels + sum(slow_zoom(pixels, z) for z in factors)) / (len(factors) + 1)
    blurred = run("imagenet/zoom_blur", jnp.asarray(pixels, jnp.float32), severity)
    np.testing.assert_allclose(blurred, expected, atol=1e-5)


def slow_glass(image, offsets, swaps):
    """Visits pixels from the lower right; a copy where a swap is not asked for."""
    flat = image.copy().reshape(-1, image.shape[-1])
    for here in reversed(range(len(flat))):
        there = here + offsets[here]
        if swaps is None:
            flat[here] = flat[there]
        elif swaps[here]:
            flat[[here, there]] = flat[[there, here]]
    return flat.reshape(image.shape)


def test_offsets_leave_the_border_alone():
    offsets = glass._offsets(32, 32, 1, KEY)[0]
    assert set(np.asarray(offsets).tolist()) == {0, -1, -32, -33}
    rows = np.asarray(offsets).reshape(32, 32)
    assert not rows[:2].any()
    assert not rows[:, :2].any()
    assert rows[2:, 2:].any(axis=0).all()


@pytest.mark.parametrize("delta", [1, 2, 4])
def test_one_gather_is_the_sequential_loop_of_copies(image, delta):
    offsets = glass._offsets(32, 32, delta, KEY)[0]
    expected = slow_glass(np.asarray(image), np.asarray(offsets), None)
    for static_or_not in (delta, jnp.asarray(delta)):
        sources = glass._sources(offsets, static_or_not)
        fast = glass._take(image.reshape(-1, 3), sources).reshape(image.shape)
        np.testing.assert_array_equal(fast, expected)


@pytest.mark.parametrize("delta", [1, 3])
def test_swaps_are_the_sequential_loop_of_swaps(image, delta):
    offsets, swaps = glass._offsets(32, 32, delta, KEY)
    fast = glass._visit(image.reshape(-1, 3), offsets, swaps).reshape(image.shape)
    slow = slow_glass(np.asarray(image), np.asarray(offsets), np.asarray(swaps))
    np.testing.assert_array_equal(fast, slow)
    down = np.floor((np.asarray(offsets) + 16) / 32)
    assert (down.min(), down.max()) == (-delta, delta - 1)


def test_glass_blur_loses_and_repeats_pixels_but_swaps_keep_all(image):
    kept = glass.swap_glass(image, KEY, sigma=0.01, delta=1, passes=2, max_sigma=0.01)
    lost = glass.blur_glass(image, KEY, sigma=0.01, passes=1, max_passes=1)
    total = np.floor(np.asarray(image) * 255 + 2e-4) / 255
    np.testing.assert_allclose(np.sort(kept, axis=None), np.sort(total, axis=None), atol=1e-6)
    assert not np.allclose(np.sort(lost, axis=None), np.sort(total, axis=None), atol=1e-6)
