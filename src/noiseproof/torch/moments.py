"""Averages of the gradients of one step's tensors, on gradients of any scale.

Adam's ε is a number of the gradient's own unit. So gradients are divided by the largest entry that
the run has met so far, rounded up to a power of two, which changes no digit of them.
"""

# PyTorch's own optimizers are made of such functions, whose names are private.
# pyright: reportPrivateImportUsage=false

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.torch.orthogonal import exponent_of, largest, power_of_two

BETAS = (0.9, 0.999)
EPSILON = 1e-8

LEAST_EXPONENT = -126.0
"""Of a run that has met no gradient."""


class Moments(NamedTuple):
    """Tensors that have a gradient in a step, and their state.

    Attributes:
        params: Themselves.
        grads: Their gradients.
        means: Averages of the gradient, in units of two to the power of `exponents`.
        squares: Averages of its square, in the square of that.
        steps: How many gradients each has met.
        exponents: Of each one's unit.
    """

    params: list[Tensor]
    grads: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]
    exponents: list[Tensor]


def run_exponent(
    grads: Sequence[Tensor], exponents: Sequence[Tensor], device: torch.device
) -> Float[Tensor, ""]:
    """The exponent of the unit of all gradients so far; gradients that are not finite keep it."""
    before = torch.stack([one.to(device) for one in exponents]).max()
    counted = [grad for grad in grads if grad.numel()]
    if not counted:
        return before
    if device.type == "cpu":
        sizes = [largest(grad.flatten(), (0,)) for grad in counted]
    else:
        sizes = torch._foreach_norm(counted, float("inf"))
    size = torch.stack([size.to(device, torch.float32).squeeze() for size in sizes]).max()
    return torch.maximum(before, torch.where(size.isfinite(), exponent_of(size), before))


def unit(exponent: Float[Tensor, ""], *, maximize: bool) -> Float[Tensor, ""]:
    """What gradients are multiplied by."""
    inverse = power_of_two(-exponent)
    return -inverse if maximize else inverse
