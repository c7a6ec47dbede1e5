"""Cheap random numbers for corruptions: hashed bits, and normals and Poisson counts made of them.

`jax.random` spends 60 µs on the normals of one 32×32×3 image, most of it in Threefry, which is
made to withstand an adversary. Here Threefry is called once per draw, for two seed words; element
i of the draw is then i + first seed, hashed, mixed with the second seed and hashed again. Each hash
is the 32-bit finalizer `lowbias32` (C. Wellons, Prospecting for Hash Functions, 2018), whose
avalanche bias is 0.17 percent; the whole is some 50 times faster than Threefry on a CPU.

What it costs: a stream is one of 2^64 rather than of 2^64 provably independent ones, and repeats
after 2^32 elements. Moments, tails, serial and cross-stream correlations are tested; no use of
these bits in cryptography is.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

POISSON_SMALL = 8.0
"""Mean up to which Poisson counts are inverted exactly; above it by an asymptotic series."""

_POISSON_STEPS = 28  # P(count > 27 | mean 8) is below 2^-24, the grain of the uniforms


_CENTER = (
    *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087),
    *(-0.00125372503, -0.00417768164, 0.246640727, 1.50140941),
)
_TAIL = (
    *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773),
    *(-0.0076224613, 0.00943887047, 1.00167406, 2.83297682),
)


def bits(shape: tuple[int, ...], key: PRNGKeyArray) -> UInt32[Array, "..."]:
    """32 random bits per element, all of them good."""
    first, second = jax.random.bits(key, (2,), jnp.uint32)
    counter = lax.iota(jnp.uint32, math.prod(shape))
    return _hash(_hash(counter + first) ^ second).reshape(shape)


def uniform(shape: tuple[int, ...], key: PRNGKeyArray) -> Float[Array, "..."]:
    """Uniform numbers in the open interval (-1, 1), symmetric about 0, on a grid of 2^-22."""
    grid = 2 * (bits(shape, key) >> 9).astype(jnp.int32) + 1 - 2**23
    return grid.astype(jnp.float32) * 2.0**-23


def integers(low: int, high: int, shape: tuple[int, ...], key: PRNGKeyArray) -> Int[Array, "..."]:
    """Whole numbers from `low` to `high` - 1; chances differ by at most (high - low) / 2^16."""
    spread = (bits(shape, key) >> 16) * jnp.uint32(high - low) >> 16
    return low + spread.astype(jnp.int32)


def normal(shape: tuple[int, ...], key: PRNGKeyArray) -> Float[Array, "..."]:
    """Standard normal numbers; the largest that can come is 5.3."""
    return _normal_quantile(uniform(shape, key))


def poisson(mean: Float[Array, "*shape"], key: PRNGKeyArray) -> Float[Array, "*shape"]:
    """Poisson counts, as floats, by inversion of their distribution function.

    Up to a mean of `POISSON_SMALL` the sum of probabilities is followed to the end, which is
    exact. Above it the quantile is the asymptotic series in 1 / sqrt(mean) of M. Giles (Algorithm
    955, ACM Transactions on Mathematical Software 42, 2016), whose distance in total variation
    from the true distribution is below 0.001 and falls as the mean grows.

    Args:
        mean: Expected counts, not negative.
        key: One key for all elements.
    """
    symmetric = uniform(mean.shape, key)
    z = _normal_quantile(symmetric)
    small = _poisson_by_summation(jnp.minimum(mean, POISSON_SMALL), (symmetric + 1) / 2)
    large = _poisson_by_series(jnp.maximum(mean, POISSON_SMALL), z)
    return jnp.where(mean <= POISSON_SMALL, small, large)


def _hash(word: UInt32[Array, " n"]) -> UInt32[Array, " n"]:
    word = (word ^ (word >> 16)) * jnp.uint32(0x7FEB352D)
    word = (word ^ (word >> 15)) * jnp.uint32(0x846CA68B)
    return word ^ (word >> 16)


def _normal_quantile(symmetric: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Normal numbers from uniform ones in (-1, 1).

    The single-precision polynomials of M. Giles (Approximating the erfinv function, GPU Computing
    Gems 2, 2011), which `lax.erf_inv` evaluates too; spelled out, XLA fuses them with what
    follows, which makes shot noise three times faster.
    """
    w = -jnp.log((1 - symmetric) * (1 + symmetric))
    center = _polynomial(w - 2.5, _CENTER)
    tail = _polynomial(jnp.sqrt(w) - 3.0, _TAIL)
    return math.sqrt(2.0) * symmetric * jnp.where(w < 5.0, center, tail)


def _polynomial(
    x: Float[Array, "*shape"], coefficients: tuple[float, ...]
) -> Float[Array, "*shape"]:
    total = jnp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total


def _poisson_by_summation(
    mean: Float[Array, "*shape"], quantile: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    # Both sides of the search are kept times exp(mean), which saves a product per step.
    wanted = quantile * jnp.exp(mean)
    term = total = jnp.ones_like(mean)
    count = (wanted > total).astype(jnp.int32)
    for k in range(1, _POISSON_STEPS):
        term = term * (mean * (1 / k))
        total = total + term
        count = count + (wanted > total)
    return count.astype(jnp.float32)


def _poisson_by_series(
    mean: Float[Array, "*shape"], z: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    root = jnp.sqrt(mean)
    series = mean + z * root + (z * z + 2) / 6 - z * (z * z + 2) / (72 * root)
    return jnp.maximum(jnp.floor(series), 0.0)
