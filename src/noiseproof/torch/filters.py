"""The pulls on a layer's filters: each band of them, and their mean, towards zero."""

import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.torch.roles import Role, as_matrices, from_matrices
from noiseproof.torch.scales import Scales
from noiseproof.torch.theta import Rates

LARGEST_PLANE = 64
"""Points of a filter up to which one product mixes all of them."""


def add_filter_pull(
    change: Float[Tensor, "..."],
    rates: Rates,
    scale: Scales,
    role: Role,
    weight: Float[Tensor, "..."],
) -> None:
    """Add each band of the filters and their mean, times its rate, to a change of the weight.

    A band is what one pass of a 3×3 mean takes away, what two more do, and the rest.
    """
    # The filters of a first layer look at pixels, those of later ones at features.
    later = 0 if role.kind == "first" else 1
    bands, mean_rate = rates.bands[later] * scale.pull, rates.mean[later] * scale.pull
    matrix = as_matrices(role, weight)
    channels, height, width = role.points
    if role.is_last_channels:
        filters = matrix.reshape(-1, height, width, channels).movedim(-1, 1)
    else:
        filters = matrix.reshape(-1, channels, height, width)
    pull = mixed(filters, bands).add_(
        filters.mean(dim=(1, 2, 3), keepdim=True) * (mean_rate - bands[2])
    )
    pull = pull.movedim(1, -1) if role.is_last_channels else pull
    change.add_(from_matrices(role, pull.reshape(matrix.shape), weight))


def mixed(
    filters: Float[Tensor, "units channels height width"], bands: Float[Tensor, " bands"]
) -> Float[Tensor, "units channels height width"]:
    """rate₁ (F - S F) + rate₂ (S F - S³ F) + rate₃ S³ F, of filters F and their smoothing S."""
    height, width = filters.shape[-2:]
    rows, columns = smoothing(height, filters), smoothing(width, filters)
    smoother = torch.linalg.matrix_power(rows, 3), torch.linalg.matrix_power(columns, 3)
    weights = bands[0], bands[1] - bands[0], bands[2] - bands[1]
    if height * width > LARGEST_PLANE:
        once, thrice = rows @ filters @ columns.mT, smoother[0] @ filters @ smoother[1].mT
        return weights[0] * filters + weights[1] * once + weights[2] * thrice
    # One product: small planes one by one cost more than they compute.
    points = torch.eye(height * width, dtype=filters.dtype, device=filters.device)
    mixing = weights[1] * torch.kron(rows, columns) + weights[2] * torch.kron(*smoother)
    return (filters.flatten(2) @ (weights[0] * points + mixing).mT).view(filters.shape)


def smoothing(size: int, like: Tensor) -> Float[Tensor, "size size"]:
    """The mean of every point of a line and its two neighbors, end points repeated."""
    at = torch.arange(size, device=like.device)
    near = ((at[:, None] - at).abs() <= 1).to(like.dtype)
    ends = torch.eye(size, dtype=like.dtype, device=like.device)
    ends = ends * ((at == 0).to(like.dtype) + (at == size - 1).to(like.dtype))
    return (near + ends) / 3.0
