"""The pulls on a layer's filters: each band of them, and their mean, towards zero."""

from jaxtyping import Float

import torch
from noiseproof.torch.roles import Role, as_matrices, from_matrices
from noiseproof.torch.scales import Scales
from noiseproof.torch.theta import Rates
from torch import Tensor


def filter_pull(
    rates: Rates, scale: Scales, role: Role, weight: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """Each band of the filters and their mean, times its rate.

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
    mean = filters.mean(dim=(1, 2, 3), keepdim=True)
    sides = smoothing(height, weight), smoothing(width, weight)
    cubes = torch.linalg.matrix_power(sides[0], 3), torch.linalg.matrix_power(sides[1], 3)
    # rate₁ (F - S F) + rate₂ (S F - S³ F) + rate₃ (S³ F - mean) + rate mean, by powers of S.
    once, thrice = (spread(*pair, filters) for pair in (sides, cubes))
    pull = bands[0] * filters + (bands[1] - bands[0]) * once + (bands[2] - bands[1]) * thrice
    pull = pull + (mean_rate - bands[2]) * mean
    pull = pull.movedim(1, -1) if role.is_last_channels else pull
    return from_matrices(role, pull.reshape(matrix.shape), weight)


def spread(
    rows: Float[Tensor, "height height"],
    columns: Float[Tensor, "width width"],
    filters: Float[Tensor, "units channels height width"],
) -> Float[Tensor, "units channels height width"]:
    """Filters whose points were mixed, along the height and along the width."""
    height, width = filters.shape[-2:]
    if height * width <= 64:
        # One product: small planes one by one cost more than they compute.
        return (filters.flatten(2) @ torch.kron(rows, columns).mT).view_as(filters)
    return rows @ filters @ columns.mT


def smoothing(size: int, like: Tensor) -> Float[Tensor, "size size"]:
    """The mean of every point of a line and its two neighbors, end points repeated."""
    at = torch.arange(size, device=like.device)
    near = ((at[:, None] - at).abs() <= 1).to(like.dtype)
    ends = torch.eye(size, dtype=like.dtype, device=like.device)
    ends = ends * ((at == 0).to(like.dtype) + (at == size - 1).to(like.dtype))
    return (near + ends) / 3.0
