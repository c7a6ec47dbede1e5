"""What tests of the port share: one thread, and what is read of a network against what is stated.

On small tensors other threads of PyTorch only wait, and many tests run at once.
"""

import importlib.util
import re
from typing import Any

import pytest

if importlib.util.find_spec("torch"):
    import torch

    torch.set_num_threads(1)

IMAGE_SHAPE = (3, 16, 16)


def read(model: Any, **options: Any) -> dict[str, Any]:
    """The role of each param by its name."""
    from noiseproof.torch import LearnedOptimizer, Role  # shape checks must be on before

    (group,) = LearnedOptimizer(model, num_steps=10, **options).param_groups
    names = [name for name, _ in model.named_parameters()]
    return {name: Role(*role) for name, role in zip(names, group["roles"], strict=True)}


def check_roles(model: Any, kinds: dict[str, str], refused: str | None) -> None:
    """What is read of a network by a forward pass is as stated, and so by the order of modules.

    Args:
        model: The network.
        kinds: What params are, by patterns of their names, the first that fits.
        refused: What the line says where modules alone leave a role open.
    """
    wanted = {
        name: next((kind for pattern, kind in kinds.items() if re.search(pattern, name)), "")
        for name, _ in model.named_parameters()
    }
    traced = read(model, example=torch.zeros(2, *IMAGE_SHAPE))
    assert {name: role.kind for name, role in traced.items()} == wanted
    if refused is None:
        assert read(model) == traced
        return
    with pytest.raises(ValueError, match=refused) as refusal:
        read(model)
    assert len(str(refusal.value)) < 300


@pytest.fixture
def reading() -> Any:
    """`read`, a network's roles."""
    return read


@pytest.fixture
def roles_are() -> Any:
    """`check_roles`."""
    return check_roles
