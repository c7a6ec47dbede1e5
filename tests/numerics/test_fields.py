"""Random fields have the variance and the spectrum that their arguments say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.numerics import fields


@pytest.mark.parametrize("period", [8, 9, 32])
def test_the_basis_is_orthonormal_over_a_period(period):
    basis = fields.fourier_basis(period, period)
    np.testing.assert_allclose(basis.T @ basis, np.eye(period), atol=1e-5)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 3.0])
def test_spectral_fields_have_unit_variance_and_their_spectrum(exponent):
    height, width, num = 16, 24, 4000
    keys = jax.random.split(jax.random.key(0), num)
    draw = jax.jit(jax.vmap(lambda key: fields.spectral_field(exponent, height, width, key)))
    draws = draw(keys)
    power = np.abs(np.fft.fft2(np.asarray(draws))) ** 2 / (height * width)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    frequency = np.maximum(frequency, 0.5 / width)
    expected = frequency ** (-2 * exponent) / np.mean(frequency ** (-2 * exponent))
    # A power has the standard deviation of its mean (sqrt 2 times that where the coefficient is
    # real); the largest of 384 deviations stays below five standard errors.
    assert np.abs(power.mean(axis=0) / expected - 1).max() < 5 * np.sqrt(2 / num)


def test_a_cut_of_a_larger_plane_keeps_its_variance():
    amplitudes = jnp.ones((32, 32))
    keys = jax.random.split(jax.random.key(0), 2000)
    cut = jax.jit(jax.vmap(lambda key: fields.gaussian_field(amplitudes, 8, 12, key)))(keys)
    # Independent normal pixels: the variance of a mean square is 2 / count.
    assert abs((cut**2).mean() - 1) < 4 * np.sqrt(2 / cut.size)


def slow_plasma(noise, decay):
    """The diamond-square rule point by point; the noise is read where it belongs."""
    side = len(noise)
    grid = np.zeros((side, side))
    step, amplitude = side, 1.0
    while step >= 2:
        half = step // 2
        for row in range(half, side, step):
            for column in range(half, side, step):
                corners = [(row + a * half, column + b * half) for a in (-1, 1) for b in (-1, 1)]
                mean = np.mean([grid[r % side, c % side] for r, c in corners])
                grid[row, column] = mean + amplitude * noise[row, column]
        for row in range(0, side, half):
            for column in range((row + half) % step, side, step):
                arms = [(row + half, column), (row - half, column)]
                arms += [(row, column + half), (row, column - half)]
                mean = np.mean([grid[r % side, c % side] for r, c in arms])
                grid[row, column] = mean + amplitude * noise[row, column]
        step, amplitude = half, amplitude / decay**2
    return (grid - grid.min()) / (grid.max() - grid.min())


def test_plasma_is_the_diamond_square_rule():
    key = jax.random.key(0)
    noise = np.asarray(fields.sampling.uniform((16, 16), key))
    fast = jax.jit(lambda key: fields.plasma(4, 1.75, 16, 16, key))(key)
    np.testing.assert_allclose(fast, slow_plasma(noise, 1.75), atol=1e-5)
    np.testing.assert_allclose(fields.plasma(4, 1.75, 9, 13, key), fast[:9, :13], atol=1e-6)
