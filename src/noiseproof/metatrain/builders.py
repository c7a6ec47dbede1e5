"""Estimators by their options alone, before their objective is known, with defaults that ship."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from noiseproof.metatrain import backprop, gpes
from noiseproof.metatrain.es import es as full_length_es
from noiseproof.metatrain.mixed import mixed
from noiseproof.metatrain.objective import Objective
from noiseproof.metatrain.tes import tes
from noiseproof.types import GradientEstimator

EstimatorBuilder: TypeAlias = Callable[[Objective], GradientEstimator]
"""`objective -> GradientEstimator`."""


def es(*, num_pairs: int = 16, std: float = 0.05) -> EstimatorBuilder:
    """Full-length antithetic evolution strategies, see `metatrain.es`."""
    return partial(full_length_es, num_pairs=num_pairs, std=std)


def truncated_es(
    *, truncation: int = 50, num_pairs: int = 16, std: float = 0.05
) -> EstimatorBuilder:
    """Truncated evolution strategies, see `metatrain.tes`."""
    return partial(tes, truncation=truncation, num_pairs=num_pairs, std=std)


def pes(*, truncation: int = 50, num_pairs: int = 16, std: float = 0.05) -> EstimatorBuilder:
    """Persistent evolution strategies, see `metatrain.gpes.pes`."""
    return partial(gpes.pes, truncation=truncation, num_pairs=num_pairs, std=std)


def nres(*, truncation: int = 50, num_pairs: int = 16, std: float = 0.05) -> EstimatorBuilder:
    """Noise-reuse evolution strategies, see `metatrain.gpes.nres`."""
    return partial(gpes.nres, truncation=truncation, num_pairs=num_pairs, std=std)


def inverse_variance_mixture(
    *, truncation: int = 50, num_pairs: int = 16, std: float = 0.05
) -> EstimatorBuilder:
    """Evolution strategies and backpropagation, see `metatrain.mixed`."""
    return partial(mixed, truncation=truncation, num_pairs=num_pairs, std=std)


def truncated_backprop(*, truncation: int = 50, num_runs: int = 32) -> EstimatorBuilder:
    """Backpropagation through a truncation, see `metatrain.backprop`."""
    return partial(backprop.truncated_backprop, truncation=truncation, num_runs=num_runs)


def full_backprop(*, num_runs: int = 32) -> EstimatorBuilder:
    """Backpropagation through whole runs, see `metatrain.backprop`."""
    return partial(backprop.full_backprop, num_runs=num_runs)
