"""Which random numbers an image draws: the same in `corrupt`, in written files and in evaluations.

The key of one corrupted image is `image_key(name, severity, index, key)`: the user's key, with
three numbers folded in one after another: the CRC-32 of the corruption's name without its last
bit, the whole part of the severity, and the number of the image in its batch or data set. So an
image stays what it is when a suite gains a corruption, when a batch grows, and when a data set is
corrupted in parts; and two corruptions, severities or images never share their draws.
"""

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from noiseproof.messages import short
from noiseproof.types import Severity

MAX_SEED = 2**32 - 1
"""The greatest seed; JAX would take greater ones for smaller ones."""


def as_key(seed: Any) -> PRNGKeyArray:
    """A key as it is, or the key of a seed.

    Raises:
        ValueError: It is neither one key nor a whole number from 0 to 2**32 - 1.
    """
    if isinstance(seed, jax.Array) and _is_one_key(seed):
        return seed
    is_whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not is_whole or not 0 <= seed <= MAX_SEED:
        raise ValueError(
            f"key must be one JAX key or a seed from 0 to 2**32 - 1, got {short(seed)}."
        )
    return jax.random.key(int(seed))


def name_key(name: str, key: PRNGKeyArray) -> PRNGKeyArray:
    """The key of all images under what has that name."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()) >> 1)


def image_key(name: str, severity: Severity, index: Any, key: PRNGKeyArray) -> PRNGKeyArray:
    """The key of one image under a named corruption.

    Args:
        name: Of the corruption.
        severity: 1 to 5; severities of the same whole part share their draws.
        index: Number of the image in its batch or data set, from 0.
        key: Of all images.
    """
    level_key = jax.random.fold_in(name_key(name, key), jnp.asarray(severity).astype(jnp.int32))
    return jax.random.fold_in(level_key, index)


def _is_one_key(seed: jax.Array) -> bool:
    if jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
        return seed.shape == ()
    return seed.dtype == np.uint32 and seed.shape == (2,)
