"""A step of the rule on all tensors at once: few calls, and products of many matrices in one."""

# PyTorch's own optimizers are made of these functions, whose names are private.
# pyright: reportPrivateImportUsage=false

from collections import defaultdict
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


def foreach_step(
    moments: Moments,
    roles: Sequence[Role],
    scales: Sequence[Scales],
    rates: Rates,
    exponent: Float[Tensor, ""],
    lr: float | Tensor,
    *,
    maximize: bool,
) -> None:
    """What `plain_step` does, to tensors of one type on one device."""
    params, grads, means, squares, steps, exponents = moments
    rows = [row_of(role) for role in roles]
    grads = [grad.to(mean.dtype) for grad, mean in zip(grads, means, strict=True)]
    grads = torch._foreach_mul(grads, unit(exponent, maximize=maximize))
    shrinkage = power_of_two(torch.stack(exponents) - exponent)
    torch._foreach_mul_(means, (shrinkage * BETAS[0]).unbind())
    torch._foreach_add_(means, grads, alpha=1.0 - BETAS[0])
    torch._foreach_mul_(squares, (shrinkage**2 * BETAS[1]).unbind())
    torch._foreach_addcmul_(squares, grads, grads, 1.0 - BETAS[1])
    torch._foreach_add_(steps, 1.0)
    torch._foreach_copy_(exponents, [exponent] * len(exponents))

    count = torch.stack(steps)
    root_factor = (1.0 - BETAS[1] ** count).rsqrt()
    factor = torch.stack([keep(rates.share, role) for role in roles])
    factor = factor / ((1.0 - BETAS[0] ** count) * root_factor)
    changes = torch._foreach_sqrt(squares)
    torch._foreach_add_(changes, (EPSILON / root_factor).unbind())
    torch._foreach_reciprocal_(changes)
    torch._foreach_mul_(changes, means)
    torch._foreach_mul_(changes, scaled(factor.unbind(), [scale.adam for scale in scales]))

    wide = [param.to(mean.dtype) for param, mean in zip(params, means, strict=True)]
    decays = scaled([rates.decay[row] for row in rows], [scale.decay for scale in scales])
    torch._foreach_add_(changes, torch._foreach_mul(wide, decays))
    add_orthogonalized(changes, means, roles, scales, rates)
    add_pulls(changes, wide, roles, scales, rates)
    torch._foreach_mul_(changes, [-lr * rates.step[row] for row in rows])
    torch._foreach_add_(params, changes)


def keep(share: Float[Tensor, " kinds"], role: Role) -> Float[Tensor, ""]:
    """The share of Adam's direction."""
    own = share[row_of(role)]
    return 1.0 - own if is_matrix(role) else torch.ones_like(own)


def scaled(factors: Sequence[Tensor], scales: list[float]) -> list[Tensor]:
    """Factors times scales, which are all one of a rule that has none."""
    if all(scale == 1.0 for scale in scales):
        return list(factors)
    return list(torch._foreach_mul(list(factors), scales))


def add_orthogonalized(
    changes: Sequence[Tensor],
    means: Sequence[Tensor],
    roles: Sequence[Role],
    scales: Sequence[Scales],
    rates: Rates,
) -> None:
    """Add the orthogonalized momenta, those of one shape by one batch of products."""
    shapes: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for at, (mean, role) in enumerate(zip(means, roles, strict=True)):
        if is_matrix(role):
            shapes[tuple(as_matrices(role, mean).shape)].append(at)
    for shape, places in shapes.items():
        parts = [as_matrices(roles[at], means[at]) for at in places]
        stack = torch.stack(parts) if len(parts) > 1 else parts[0].reshape(1, *shape)
        for at, result in zip(places, orthogonalized(stack).unbind(), strict=True):
            factor = rates.share[row_of(roles[at])] * scales[at].orthogonal
            changes[at].addcmul_(from_matrices(roles[at], result, changes[at]), factor)


def add_pulls(
    changes: Sequence[Tensor],
    wide: Sequence[Tensor],
    roles: Sequence[Role],
    scales: Sequence[Scales],
    rates: Rates,
) -> None:
    """Add the pulls on filters."""
    for change, param, role, scale in zip(changes, wide, roles, scales, strict=True):
        if role.points:
            add_filter_pull(change, rates, scale, role, param)
