"""A learned optimizer as its rates: read from weights and card, at any part of a run.

The rule is `structured`, or `universal`, whose rates are scaled by the sizes of tensors, run and
classifier (see `scales`). Steps shrink with a cosine; the logarithm of each rate has learned knots
over the run, between which it is linear.
"""

import math
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from noiseproof.messages import short
from noiseproof.published import Met, find, met, read_published

NUM_BANDS = 3

LOG_SCALE = 10.0
"""One unit of theta moves the logarithm of a rate by ten."""

LEAST_SHRINKAGE = 0.01
"""Of the cosine by which steps shrink."""

RATES = {"step": 3e-3, "decay": 1e-1, "bands": 1e-1, "mean": 1.0, "orthogonal": 0.0}
"""Theta's tables of rates, and where each starts; the last one is of log-odds."""

NUM_ROWS = {"step": 5, "decay": 5, "bands": 2 * NUM_BANDS, "mean": 2, "orthogonal": 5}

EXPONENTS = {
    "adam_fans": (5, 2),
    "orthogonal_fans": (3, 2),
    "step_sizes": (5, 2),
    "decay_fans": (5, 2),
    "decay_sizes": (5, 2),
    "pull_sizes": (2, 2),
}
"""Shapes of the tables that `universal` has and `structured` lacks."""

OF_EPOCHS = {"step_epochs": (5, 1), "decay_epochs": (5, 1), "pull_epochs": (2, 1)}
"""Of those that it has besides where it counts epochs."""


class Theta(NamedTuple):
    """A learned optimizer.

    Attributes:
        knots: Logarithms of all rates, row after row in the order of `RATES`.
        exponents: Tables of `universal` as plain numbers; none of `structured`.
        sha256: Of the weights' file.
        met: The sizes of runs and classifiers that meta-training met.
    """

    knots: Float[Tensor, "rows knots"]
    exponents: dict[str, list[list[float]]]
    sha256: str
    met: Met


class Rates(NamedTuple):
    """All rates at a part of the run.

    Attributes:
        step: By kind.
        decay: By kind.
        bands: Of the filters of first layers and of later ones.
        mean: Of their means.
        share: By kind, of the orthogonalized momentum in the direction.
    """

    step: Float[Tensor, " kinds"]
    decay: Float[Tensor, " kinds"]
    bands: Float[Tensor, "2 bands"]
    mean: Float[Tensor, " 2"]
    share: Float[Tensor, " kinds"]


def load_theta(name: str | Path) -> Theta:
    """A learned optimizer from disk.

    Args:
        name: A shipped name, a folder of a run, or a `.safetensors` file.

    Raises:
        ValueError: There is none, it is damaged, or it is of a rule that has no port.
    """
    if not isinstance(name, str | Path):
        raise ValueError(f"name must be a shipped name, a folder or a file, got {short(name)}.")
    arrays, card = read_published(find(name))
    rule = card["rule"]
    if rule not in ("structured", "universal"):
        raise ValueError(
            f"{short(str(name))} is of the rule {short(rule)}; noiseproof.torch knows structured"
            " and universal."
        )
    if card["options"].get("augments"):
        raise ValueError(
            f"{short(str(name))} changes the first layer while it is trained, which"
            " noiseproof.torch does not do; give one that does not."
        )
    tables = {key: torch.tensor(array) for key, array in arrays.items()}
    more = {**EXPONENTS, **(OF_EPOCHS if card["options"].get("counts_epochs") else {})}
    num_knots = card["options"].get("num_knots", 4)
    wanted = {
        "step": (5, num_knots),
        "orthogonal": (5, num_knots),
        "decay": (5, num_knots),
        "bands": (2, NUM_BANDS, num_knots),
        "mean": (2, num_knots),
        **(more if rule == "universal" else {}),
    }
    if {key: tuple(table.shape) for key, table in tables.items()} != wanted:
        raise ValueError(f"The weights of {short(str(name))} are not those of the rule {rule}.")
    knots = torch.cat([tables[key].float().reshape(-1, num_knots) for key in RATES])
    exponents = {key: tables[key].tolist() for key in more if key in tables}
    return Theta(knots, exponents, card["theta_sha256"], met(card))


def rates_at(knots: Float[Tensor, "rows knots"], fraction: Float[Tensor, ""]) -> Rates:
    """Every rate at a part of the run.

    Args:
        knots: Of `Theta`, on the device of the result.
        fraction: Of the run, in [0, 1].
    """
    num_knots = knots.shape[1]
    places = torch.arange(num_knots, dtype=knots.dtype, device=knots.device)
    nearness = (1.0 - (fraction * (num_knots - 1) - places).abs()).clamp(min=0.0)
    logarithms = (LOG_SCALE * (knots @ nearness)).split(list(NUM_ROWS.values()))
    step, decay, bands, mean = (
        start * part.exp() for start, part in zip(RATES.values(), logarithms[:-1], strict=False)
    )
    shrinkage = (0.5 * (1.0 + torch.cos(math.pi * fraction))).clamp(min=LEAST_SHRINKAGE)
    share = logarithms[-1].sigmoid()
    return Rates(step * shrinkage, decay, bands.view(2, NUM_BANDS), mean, share)
