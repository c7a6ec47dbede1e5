"""Shipped learned optimizers for PyTorch, as a `torch.optim.Optimizer`; no JAX is imported.

from noiseproof.torch import LearnedOptimizer

optimizer = LearnedOptimizer(model, num_steps=10_000)
"""

try:
    import torch as _torch  # noqa: F401 (said here, before any module needs it)
except ModuleNotFoundError:
    raise ImportError(
        "noiseproof.torch needs torch, which is not installed: pip install 'noiseproof[torch]'."
    ) from None

from noiseproof.torch.optimizer import LearnedOptimizer
from noiseproof.torch.roles import Role

__all__ = ["LearnedOptimizer", "Role"]
