"""What the rates of `universal` are multiplied by, tensor by tensor.

Each scale is a product of powers of sizes relative to a base: a tensor's fans, the steps and, of
some thetas, the epochs of the run, the layers of the classifier. The exponents are part of theta,
added to those that theory asks for.

Sources: Yang, Hu, Babuschkin, et al., arXiv 2203.03466, for Adam; Bernstein and Newhouse, arXiv
2409.20325, for the orthogonalized direction.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from noiseproof.kinds import MATRICES
from noiseproof.torch.roles import Role, fans, is_matrix, row_of

EXPONENT_SCALE = 3.0
"""One unit of theta moves an exponent by three."""

BASE_FANS = ((27.0, 8.0), (100.0, 24.0), (128.0, 10.0), (1.0, 16.0), (1.0, 16.0))
"""Fan in and fan out, by kind, at which all scales are one."""

BASE_STEPS, BASE_LAYERS, BASE_EPOCHS = 1000.0, 4.0, 2.0

THEORY_ADAM = ((0.0, 0.0), (-1.0, 0.0), (-1.0, 0.0), (0.0, 0.0), (0.0, 0.0))
THEORY_ORTHOGONAL = ((0.0, 0.0), (-1.0, 0.5), (-1.0, 0.5))
NONE = ((0.0, 0.0),) * 5


class Scales(NamedTuple):
    """Of Adam's direction, the orthogonalized one, the decay, and the pulls on filters."""

    adam: float = 1.0
    orthogonal: float = 1.0
    decay: float = 1.0
    pull: float = 1.0


def scales_of(
    exponents: dict[str, list[list[float]]],
    roles: Sequence[Role],
    shapes: Sequence[tuple[int, ...]],
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    classifier: Sequence[Role],
) -> list[Scales]:
    """The scales of all tensors; one where theta has no exponents.

    Args:
        exponents: Of `Theta`.
        roles: Of the tensors that are trained.
        shapes: Of the same.
        num_steps: Of the run.
        steps_per_epoch: Of the run, for exponents of epochs; where it is not known there are two
            epochs.
        classifier: Roles of all its params, trained or not, which say how many layers it has.
    """
    if not exponents:
        return [Scales()] * len(roles)
    layers = max(sum(role.stack for role in classifier if is_matrix(role)), 1)
    others = (math.log(num_steps / BASE_STEPS), math.log(layers / BASE_LAYERS))
    epochs = BASE_EPOCHS if steps_per_epoch is None else num_steps / steps_per_epoch
    seen = math.log((1.0 + epochs) / (1.0 + BASE_EPOCHS))

    def power(
        name: str, row: int, sizes: Sequence[float], theory: Sequence[Sequence[float]]
    ) -> float:
        pairs = zip(exponents[name][row], theory[row], sizes, strict=True)
        return sum((EXPONENT_SCALE * own + known) * size for own, known, size in pairs)

    def of_run(name: str, row: int) -> float:
        told = f"{name}_epochs" in exponents
        more = EXPONENT_SCALE * exponents[f"{name}_epochs"][row][0] * seen if told else 0.0
        return power(f"{name}_sizes", row, others, NONE) + more

    def of_tensor(role: Role, shape: tuple[int, ...]) -> Scales:
        row = row_of(role)
        matrix, pulled = min(row, len(MATRICES) - 1), int(row != 0)
        own = [
            math.log(size / base)
            for size, base in zip(fans(role, shape), BASE_FANS[row], strict=True)
        ]
        step = of_run("step", row)
        decay = power("decay_fans", row, own, NONE)
        logarithms = (
            step + power("adam_fans", row, own, THEORY_ADAM),
            step + power("orthogonal_fans", matrix, own, THEORY_ORTHOGONAL),
            decay + of_run("decay", row),
            decay + of_run("pull", pulled),
        )
        return Scales(*map(math.exp, logarithms))

    return [of_tensor(role, shape) for role, shape in zip(roles, shapes, strict=True)]
