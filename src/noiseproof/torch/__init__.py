"""Shipped learned optimizers for PyTorch, as a `torch.optim.Optimizer`; no JAX is imported.

from noiseproof.torch import LearnedOptimizer

optimizer = LearnedOptimizer(model, num_steps=10_000, steps_per_epoch=len(loader))
"""

import importlib.util

if importlib.util.find_spec("torch") is None:
    raise ImportError(
        "noiseproof.torch needs torch, which is not installed: pip install 'noiseproof[torch]'."
    )

from noiseproof.torch.optimizer import LearnedOptimizer
from noiseproof.torch.roles import Role

__all__ = ["LearnedOptimizer", "Role"]
