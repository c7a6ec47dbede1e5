"""The momentum of a weight matrix with all its singular values made about equal.

Newton-Schulz iterations on the Gram matrix of the shorter side find it from products alone, of
many matrices of one shape at once.

Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024), whose
coefficients these are.
"""

import torch
from jaxtyping import Float
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of an iteration x (a + b x² + c x⁴) of a singular value x."""

NUM_ITERATIONS = 5

ROOT_MEAN_SQUARE = 0.5
"""Of an orthogonalized matrix: about that of Adam's direction, so that one step serves both."""

GREATEST_EXPONENT = 126
"""Powers of two up to it have an inverse that is a number of single precision, too."""


def orthogonalized(
    matrices: Float[Tensor, "*stack rows columns"],
) -> Float[Tensor, "*stack rows columns"]:
    """Matrices of all singular values about equal; zero stays zero."""
    # Of a square one the side of the outputs, as in JAX: rounding of either side is its own.
    is_wide = matrices.shape[-2] <= matrices.shape[-1]
    # Divided by a power of two, so that squares are numbers of single precision.
    tall = matrices * power_of_two(-exponent_of(largest(matrices, (-2, -1))))
    tall = tall.mT if is_wide else tall
    gram = tall.mT @ tall
    square_norm = gram.diagonal(dim1=-2, dim2=-1).sum(dim=-1)[..., None, None] + 1e-30
    gram = gram / square_norm
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    a, b, c = COEFFICIENTS
    product = identity
    # All factors are polynomials of one symmetric matrix, and so commute.
    for index in range(NUM_ITERATIONS):
        factor = a * identity + b * gram + c * (gram @ gram)
        product = factor if index == 0 else product @ factor
        if index + 1 < NUM_ITERATIONS:
            gram = factor @ gram @ factor
    scale = ROOT_MEAN_SQUARE * tall.shape[-2] ** 0.5 * square_norm.rsqrt()
    result = tall @ (scale * product)
    return result.mT if is_wide else result


def largest(tensor: Float[Tensor, "..."], axes: tuple[int, ...]) -> Float[Tensor, "..."]:
    """The largest absolute values over some axes, which stay; five times as fast as their norm."""
    return torch.maximum(tensor.amax(axes, keepdim=True), -tensor.amin(axes, keepdim=True))


def exponent_of(sizes: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The least exponents of two whose powers are above `sizes`; 0 of what is not finite."""
    exponent = torch.frexp(sizes).exponent.clamp(-GREATEST_EXPONENT, GREATEST_EXPONENT)
    return torch.where(sizes.isfinite(), exponent, 0).to(sizes.dtype)


def power_of_two(exponent: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Two to the power of whole numbers, exactly."""
    return torch.ldexp(torch.ones_like(exponent), exponent)
