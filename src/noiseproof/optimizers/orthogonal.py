"""The momentum of a weight matrix with all its singular values made equal.

A gradient is dominated by a few directions; an orthogonalized one moves a layer along all of them
alike, which Adam, who knows entries only, can not. Newton-Schulz iterations find it from matrix
products alone; here they act on the Gram matrix of the shorter side, whose products are small.

Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024), whose
coefficients these are; the idea of steepest descent in the spectral norm, Bernstein and Newhouse,
arXiv 2409.20325.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from noiseproof.optimizers.scaled_adam import exponent_of

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of an iteration x (a + b x² + c x⁴) of a singular value x: the steepest at zero that ends within
about 0.7 to 1.2."""

NUM_ITERATIONS = 5
"""Singular values above a hundredth of the norm reach that interval."""

ROOT_MEAN_SQUARE = 0.5
"""Of an orthogonalized tensor: about that of Adam's direction, so that one step serves both."""


def orthogonalized(tensor: Float[Array, "*shape units"]) -> Float[Array, "*shape units"]:
    """A tensor as a matrix whose columns are units, with all singular values about equal.

    Its root mean square is about `ROOT_MEAN_SQUARE` where no direction is missing; zero stays zero.
    """
    matrix = within_range(tensor.reshape(-1, tensor.shape[-1]))
    is_wide = matrix.shape[0] < matrix.shape[1]
    tall = matrix.T if is_wide else matrix
    gram = tall.T @ tall
    square_norm = jnp.trace(gram) + 1e-30
    # All factors are polynomials of one symmetric matrix, and so commute.
    gram = gram / square_norm
    identity = product = jnp.eye(gram.shape[0])
    a, b, c = COEFFICIENTS
    for _ in range(NUM_ITERATIONS):
        factor = a * identity + b * gram + c * gram @ gram
        product = product @ factor
        gram = factor @ gram @ factor
    scale = ROOT_MEAN_SQUARE * tall.shape[0] ** 0.5 * jax.lax.rsqrt(square_norm)
    result = tall @ (scale * product)
    return (result.T if is_wide else result).reshape(tensor.shape)


def within_range(matrix: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
    """A matrix divided by a power of two so that its squares are numbers of single precision."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(matrix), initial=0.0))
    return matrix * jnp.ldexp(1.0, -exponent_of(largest, jnp.int32(0))).astype(matrix.dtype)
