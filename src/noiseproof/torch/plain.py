"""A step of the rule, tensor by tensor: the slow twin of `foreach`, and the form to read."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.torch.filters import add_filter_pull
from noiseproof.torch.moments import BETAS, EPSILON, Moments, unit
from noiseproof.torch.orthogonal import orthogonalized, power_of_two
from noiseproof.torch.roles import Role, as_matrices, from_matrices, is_matrix, row_of
from noiseproof.torch.scales import Scales
from noiseproof.torch.theta import Rates


def plain_step(
    moments: Moments,
    roles: Sequence[Role],
    scales: Sequence[Scales],
    rates: Rates,
    exponent: Float[Tensor, ""],
    lr: float | Tensor,
    *,
    maximize: bool,
) -> None:
    """Change the params and their state in place.

    Args:
        moments: What has a gradient.
        roles: Of each.
        scales: Of each.
        rates: At this part of the run.
        exponent: Of the unit of all gradients so far.
        lr: Multiplies every step.
        maximize: Whether the loss is to grow.
    """
    for param, grad, mean, square, step, own_exponent, role, scale in zip(
        *moments, roles, scales, strict=True
    ):
        shrinkage = power_of_two(own_exponent - exponent)
        grad = grad.to(mean.dtype) * unit(exponent, maximize=maximize)
        mean.mul_(shrinkage * BETAS[0]).add_(grad, alpha=1.0 - BETAS[0])
        square.mul_(shrinkage**2 * BETAS[1]).addcmul_(grad, grad, value=1.0 - BETAS[1])
        step.add_(1.0)
        own_exponent.copy_(exponent)
        # mean / (root of square + ε), both without bias; so few passes over memory as may be.
        root_factor = (1.0 - BETAS[1] ** step).rsqrt()
        root = torch.sqrt(square, out=grad).add_(EPSILON / root_factor)
        direction = torch.div(mean, root, out=root)
        factor = 1.0 / ((1.0 - BETAS[0] ** step) * root_factor)
        change = pulled(rates, role, scale, param.to(mean.dtype), direction, factor, mean)
        param.add_(change.mul_(-lr * rates.step[row_of(role)]))


def pulled(
    rates: Rates,
    role: Role,
    scale: Scales,
    param: Float[Tensor, "..."],
    direction: Float[Tensor, "..."],
    factor: Float[Tensor, ""],
    momentum: Float[Tensor, "..."],
) -> Float[Tensor, "..."]:
    """The direction with all pulls towards zero, of which a step is taken.

    Args:
        rates: At this part of the run.
        role: Of the tensor.
        scale: Of the tensor.
        param: The tensor, in the type of its state.
        direction: Adam's without its factor, which is overwritten.
        factor: Of Adam's direction.
        momentum: Adam's mean gradient.
    """
    row = row_of(role)
    if is_matrix(role):
        share = rates.share[row]
        other = from_matrices(role, orthogonalized(as_matrices(role, momentum)), param)
        direction.mul_(factor * (1.0 - share) * scale.adam)
        direction.addcmul_(other, share * scale.orthogonal)
    else:
        direction.mul_(factor * scale.adam)
    direction.addcmul_(param, rates.decay[row] * scale.decay)
    if role.points:
        add_filter_pull(direction, rates, scale, role, param)
    return direction
