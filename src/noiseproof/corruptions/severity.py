"""How strong: five constants per severity, read off a table whole, traced or in between.

A named corruption is a function with free constants and, for each constant, a table of five. A
severity that is a Python number picks Python numbers, so that loops unroll to the length they
need; a traced one interpolates in the graph, so that one compiled call serves every severity, and
a batch of mixed ones under `vmap`. Between whole severities constants are interpolated linearly,
for meta-training; those of integer type (a number of passes, a quality) are rounded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PRNGKeyArray

from noiseproof.types import Constant, Image, Severity

NUM_SEVERITIES = 5

Table: TypeAlias = tuple[float, ...]
"""A constant at the severities 1 to 5; all of type int where only whole numbers make sense."""


@dataclass(frozen=True)
class NamedCorruption:
    """A corruption with five severities: called as `(image, severity, key) -> image` in [0, 1].

    A traced severity outside 1 to 5 can raise nothing and acts like the nearest end. This is no
    NamedTuple, because `jax.jit` takes no tuple for a function.

    Attributes:
        apply: `(image, key, **constants) -> image`, for constants of one's own; not clipped.
        tables: The names of the constants and their five values.
        limited: The constant whose static upper bound `apply` needs, under the name
            `max_` + constant, to size a loop or a kernel that a traced constant cannot.
        differentiable: Whether useful gradients with respect to the image flow through it.
        color_only: Whether it is meaningless on grey images.
    """

    apply: Callable[..., Image]
    tables: tuple[tuple[str, Table], ...]
    limited: str | None
    differentiable: bool
    color_only: bool

    def __call__(
        self: "NamedCorruption", image: Image, severity: Severity, key: PRNGKeyArray
    ) -> Image:
        """The image at a severity of 1 to 5, clipped to [0, 1], in the dtype it came in."""
        if self.color_only and image.shape[-1] != 3:
            raise ValueError(f"this corruption needs 3 color channels, got {image.shape[-1]}.")
        # Half precision is for storage: 255 levels and their roundings need more.
        precise = image.astype(jnp.promote_types(image.dtype, jnp.float32))
        corrupted = self.apply(precise, key, **constants_at(self, severity))
        return corrupted.clip(0.0, 1.0).astype(image.dtype)


def graded(
    apply: Callable[..., Image],
    *,
    limited: str | None = None,
    differentiable: bool = True,
    color_only: bool = False,
    **tables: Table,
) -> NamedCorruption:
    """A named corruption from a function and a table of five for each of its constants.

    Raises:
        ValueError: A table does not hold five numbers.
    """
    for name, table in tables.items():
        if len(table) != NUM_SEVERITIES:
            raise ValueError(f"table {name} must hold 5 constants, got {len(table)}.")
    return NamedCorruption(apply, tuple(tables.items()), limited, differentiable, color_only)


def constants_at(corruption: NamedCorruption, severity: Severity) -> dict[str, Constant]:
    """The constants of a corruption at a severity, and the static bound that it asks for."""
    level = static_severity(severity)
    constants = {name: _read(table, level) for name, table in corruption.tables}
    if corruption.limited is not None:
        value = constants[corruption.limited]
        whole = dict(corruption.tables)[corruption.limited]
        constants["max_" + corruption.limited] = max(whole) if isinstance(value, Array) else value
    return constants


def static_severity(severity: Severity) -> Severity:
    """A Python number where the severity is known, checked; a traced one as it came.

    Raises:
        ValueError: A known severity is outside 1 to 5.
    """
    if isinstance(severity, Tracer):
        return severity
    level = severity if isinstance(severity, int | float) else np.asarray(severity).item()
    if not 1 <= level <= NUM_SEVERITIES:
        raise ValueError(f"severity must lie between 1 and 5, got {level}.")
    return level


def _read(table: Table, severity: Severity) -> Constant:
    discrete = all(isinstance(value, int) for value in table)
    if not isinstance(severity, Tracer):
        value = float(np.interp(severity, range(1, NUM_SEVERITIES + 1), table))
        return round(value) if discrete else value
    # Both ends of a piece enter with weights that are exactly 0 or 1 on whole severities, so that
    # the traced constants there are the static ones.
    position = jnp.clip(jnp.asarray(severity, jnp.float32), 1, NUM_SEVERITIES) - 1
    below = jnp.clip(jnp.floor(position).astype(jnp.int32), 0, NUM_SEVERITIES - 2)
    share = position - below
    values = jnp.asarray(table, jnp.float32)
    value = (1 - share) * values[below] + share * values[below + 1]
    return jnp.round(value).astype(jnp.int32) if discrete else value
