"""The noise family against the moments of its definitions, and its builders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.corruptions import corrupt, gaussian_noise
from noiseproof.corruptions.kernels.noise import random_spectral_noise

GREY = jnp.full((200, 16, 16, 3), 0.5, jnp.float32)
KEY = jax.random.key(0)


def test_impulse_noise_is_half_white_half_black_and_channels_fall_apart():
    noisy = np.asarray(corrupt(GREY, "impulse_noise", 5, KEY))
    hit = noisy != 0.5
    assert set(np.unique(noisy)) == {0.0, 0.5, 1.0}
    assert abs(hit.mean() - 0.07) < 4 * np.sqrt(0.07 * 0.93 / hit.size)
    assert abs(noisy[hit].mean() - 0.5) < 4 * 0.5 / np.sqrt(hit.sum())
    # Two channels of a pixel are hit together as often as by chance.
    both = (hit[..., 0] & hit[..., 1]).mean()
    assert abs(both - 0.07**2) < 4 * np.sqrt(0.07**2 / hit[..., 0].size)


@pytest.mark.parametrize(
    ("name", "severity", "variance"),
    [
        ("gaussian_noise", 3, 0.08**2),
        ("speckle_noise", 3, (0.5 * 0.12) ** 2),
        ("shot_noise", 5, 0.5 / 50),
        ("shot_noise", 1, 0.5 / 500),
    ],
)
def test_noise_has_its_variance_and_no_bias(name, severity, variance):
    noise = np.asarray(corrupt(GREY, name, severity, KEY)) - 0.5
    assert abs(noise.mean()) < 4 * np.sqrt(variance / noise.size)
    # Var of a mean square is at most 3 variance^2 / count for these, the Poisson kurtosis included.
    assert abs(noise.var() - variance) < 4 * np.sqrt(3 / noise.size) * variance


def test_between_severities_the_constant_lies_between():
    noise = np.asarray(corrupt(GREY, "gaussian_noise", 1.5, KEY)) - 0.5
    assert abs(noise.std() - 0.05) < 4 * 0.05 / np.sqrt(2 * noise.size)


def test_builders_have_free_strength_and_clip_only_if_asked():
    image = GREY[0]
    free = jax.jit(gaussian_noise(std=2.0, clip=False))(image, KEY)
    clipped = jax.jit(gaussian_noise(std=2.0))(image, KEY)
    assert free.min() < 0
    assert free.max() > 1
    np.testing.assert_allclose(clipped, free.clip(0, 1), atol=1e-6)


def test_spectral_noise_has_the_std_asked_for():
    noise = random_spectral_noise(exponents=(2.0, 2.0), stds=(0.3, 0.3))
    keys = jax.random.split(KEY, 4000)
    draws = jax.jit(jax.vmap(lambda key: noise(GREY[0, ..., :1], key) - 0.5))(keys)
    # One constant carries nearly all the variance: 4000 independent squares, var(z^2) = 2.
    assert abs((draws**2).mean() / 0.09 - 1) < 4 * np.sqrt(2 / 4000)


def test_a_negative_std_is_refused():
    with pytest.raises(ValueError, match=r"std must not be negative, got -0\.1\."):
        gaussian_noise(std=-0.1)
    with pytest.raises(ValueError, match=r"stds must rise from 0 or more, got -0\.1 to 0\.1"):
        random_spectral_noise(exponents=(0.0, 1.0), stds=(-0.1, 0.1))


def test_a_random_spectrum_draws_how_much_channels_share():
    """The correlation of two channels is the share drawn: even from 0 to 1, so 1/2 on average.

    The std over images of a correlation of 256 pixels is at most that of the shares, 0.29, and
    1/16 of the pixels' luck.
    """
    transform = random_spectral_noise(exponents=(0.0, 0.0), stds=(0.1, 0.1))
    noise = np.asarray(jax.jit(jax.vmap(transform))(GREY, jax.random.split(KEY, 200))) - 0.5
    flat = noise.reshape(200, -1, 3)
    found = np.array([np.corrcoef(one[:, 0], one[:, 1])[0, 1] for one in flat])
    assert abs(found.mean() - 0.5) < 4 * np.sqrt((1 / 12 + 1 / 256) / 200)
    assert found.min() < 0.2
    assert found.max() > 0.8
    assert abs(noise.std() - 0.1) < 4 * 0.1 / np.sqrt(200 * 256)
    clipping = random_spectral_noise(exponents=(0.0, 3.0), stds=(1.0, 1.0), clip=True)
    clipped = jax.jit(clipping)(GREY[0], KEY)
    assert clipped.min() >= 0
    assert clipped.max() <= 1
