"""The 256 levels of an 8-bit file, with gradients that pass straight through the rounding.

Several corruptions of the original scripts go through 8 bits on their way, and the released files
end in them. Rounding has no useful gradient; the identity's stands in for it (Y. Bengio and
others, 2013, arXiv 1308.3432).
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

SLACK = 2e-4
"""Of a level, by which 32-bit arithmetic may fall short of a whole one."""


def quantized(image: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Clipped to [0, 1] and truncated to multiples of 1/255, as the released files are.

    255 · (k/255) falls below k in 32-bit floats for some k, where the 64-bit floats of the
    original script do not: `SLACK` is added first.
    """
    return straight_through(image.clip(0.0, 1.0) * 255, lambda x: jnp.floor(x + SLACK)) / 255


def rounded(image: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Clipped to [0, 1] and rounded to multiples of 1/255, halves up, as image libraries do."""
    return straight_through(image.clip(0.0, 1.0) * 255, lambda x: jnp.floor(x + 0.5 + SLACK)) / 255


def straight_through(
    values: Float[Array, "*shape"], rounding: Callable[[Array], Array]
) -> Float[Array, "*shape"]:
    """What `rounding` gives, with the gradient of the identity."""
    return values + lax.stop_gradient(rounding(values) - values)
