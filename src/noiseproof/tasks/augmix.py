"""AugMix: an image mixed with chains of random operations on it, as a training augmentation.

Some chains of one to a few operations each are mixed with random weights, and the mixture with the
image itself. The operations are those of the published list that no corruption of CIFAR-10-C
repeats. Not done is the second half of the paper, a loss that asks two augmented copies for the
same prediction (Jensen-Shannon): this is the variant that the paper calls without it.

Source: Hendrycks, Mu, Cubuk, Zoph, Gilmer, Lakshminarayanan, arXiv 1912.02781. Operations are in
real numbers where the published code rounds, and turn and shear about the center of the image.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, Scalar

from noiseproof.numerics.warps import sample
from noiseproof.types import Image, ImageTransform

MAX_RADIANS, MAX_SLOPE, MAX_SHIFT = math.radians(30.0), 0.3, 1 / 3
"""Of an operation of strength 1: turn, shear, and translation as a share of the image's side."""

LEAST_STRENGTH = 0.01
NUM_MOTIONS = 5


def augmix(*, strength: float = 0.3, num_chains: int = 3, max_length: int = 3) -> ImageTransform:
    """A random mixture of an image with chains of operations on it.

    Args:
        strength: Greatest strength of an operation, to 1; each draws its own, evenly.
        num_chains: Chains that are mixed.
        max_length: Operations of a chain, which draws its own number from 1 on.

    Raises:
        ValueError: The strength is out of range, or a count is not positive.
    """
    if not LEAST_STRENGTH <= strength <= 1.0:
        raise ValueError(f"strength must lie in [{LEAST_STRENGTH}, 1], got {strength}.")
    for name, count in (("num_chains", num_chains), ("max_length", max_length)):
        if count < 1:
            raise ValueError(f"{name} must be positive, got {count}.")

    def chain(image: Image, length: Int[Array, ""], operations: Operations) -> Image:
        for place in range(max_length):
            operation = Operations(*(drawn[place] for drawn in operations))
            image = jnp.where(place < length, operate(image, operation), image)
        return image

    def transform(image: Image, key: PRNGKeyArray) -> Image:
        weights_key, share_key, lengths_key, operations_key = jax.random.split(key, 4)
        lengths = jax.random.randint(lengths_key, (num_chains,), 1, max_length + 1)
        operations = draw_operations((num_chains, max_length), strength, operations_key)
        chains = jax.vmap(chain, in_axes=(None, 0, 0))(image, lengths, operations)
        # Even on the simplex, as the Dirichlet distribution of ones.
        parts = jax.random.exponential(weights_key, (num_chains,))
        share = jax.random.uniform(share_key)
        mixed = jnp.einsum("k,khwc->hwc", parts / parts.sum(), chains)
        return (1.0 - share) * image + share * mixed

    return transform


class Operations(NamedTuple):
    """Operations, all drawn at once: XLA might draw them anew within its loops over pixels.

    Attributes:
        which: Place of each among `TONES`, and then the motions.
        strengths: From `LEAST_STRENGTH` on.
        signs: 1 or -1, the direction of a motion.
    """

    which: Int[Array, "*shape"]
    strengths: Float[Array, "*shape"]
    signs: Float[Array, "*shape"]


def draw_operations(shape: tuple[int, ...], strength: float, key: PRNGKeyArray) -> Operations:
    """Operations, each drawn evenly, of strengths up to this one."""
    which_key, strengths_key, signs_key = jax.random.split(key, 3)
    return Operations(
        jax.random.randint(which_key, shape, 0, len(TONES) + NUM_MOTIONS),
        jax.random.uniform(strengths_key, shape, minval=LEAST_STRENGTH, maxval=strength),
        jax.random.rademacher(signs_key, shape, jnp.float32),
    )


def operate(image: Image, operation: Operations) -> Image:
    """One operation on the image. All are computed, as branches are along an axis of images."""
    num_tones = len(TONES)
    motion = jnp.maximum(operation.which - num_tones, 0)
    moved = move(image, motion, operation.strengths * operation.signs)
    toned = [tone(image, operation.strengths) for tone in TONES.values()]
    return jax.lax.select_n(jnp.minimum(operation.which, num_tones), *toned, moved)


def move(image: Image, motion: Int[Array, ""], strength: Scalar) -> Image:
    """Turns, shears (along rows, along columns) or shifts (likewise) the image; black beyond."""
    height, width, _ = image.shape
    matrices, shifts = motions(strength, height, width)
    matrix, shift = matrices[motion], shifts[motion]
    middle, center = (height - 1) / 2, (width - 1) / 2
    row, column = jnp.arange(height)[:, None] - middle, jnp.arange(width) - center
    rows = matrix[0, 0] * row + matrix[0, 1] * column + middle + shift[0]
    columns = matrix[1, 0] * row + matrix[1, 1] * column + center + shift[1]
    return sample(image, rows, columns, "zero")


def motions(
    strength: Scalar, height: int, width: int
) -> tuple[Float[Array, "motions 2 2"], Float[Array, "motions 2"]]:
    """Matrices and shifts that send a pixel, as (row, column), to where its value comes from."""
    angle, slope = MAX_RADIANS * strength, MAX_SLOPE * strength
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rotation = jnp.array([[cos, sin], [-sin, cos]])
    along_rows = jnp.array([[1.0, 0.0], [slope, 1.0]])
    # Whole pixels, since a fraction of one would blur.
    down, right = (jnp.trunc(MAX_SHIFT * strength * size) for size in (height, width))
    matrices = jnp.stack([rotation, along_rows, along_rows.T, jnp.eye(2), jnp.eye(2)])
    shifts = jnp.zeros((NUM_MOTIONS, 2)).at[3, 1].set(right).at[4, 0].set(down)
    return matrices, shifts


def autocontrast(image: Image, _strength: Scalar) -> Image:
    """Stretches every channel to the range [0, 1]; a flat one stays."""
    low, high = (reduce(image, axis=(0, 1)) for reduce in (jnp.min, jnp.max))
    return jnp.where(high > low, (image - low) / jnp.where(high > low, high - low, 1.0), image)


def equalize(image: Image, _strength: Scalar) -> Image:
    """Gives every channel a flat histogram: a level becomes the share of pixels below it, of all
    that are below the highest. A flat channel stays.
    """

    def one_channel(channel: Float[Array, "height width"]) -> Float[Array, "height width"]:
        levels = jnp.round(255.0 * channel).astype(jnp.int32).clip(0, 255)
        counts = jnp.zeros(256).at[levels].add(1.0)
        below_highest = channel.size - counts[levels.max()]
        shares = (jnp.cumsum(counts) - counts) / jnp.maximum(below_highest, 1.0)
        return jnp.where(below_highest > 0, shares[levels], channel)

    return jax.vmap(one_channel, in_axes=-1, out_axes=-1)(image)


def posterize(image: Image, strength: Scalar) -> Image:
    """Keeps the four highest of eight bits, and fewer the stronger it is."""
    step = jnp.exp2(4.0 + jnp.floor(4.0 * strength))
    return jnp.floor(jnp.round(255.0 * image) / step) * step / 255.0


def solarize(image: Image, strength: Scalar) -> Image:
    """Inverts what is brighter than 1 - `strength`."""
    return jnp.where(image >= 1.0 - strength, 1.0 - image, image)


TONES = {
    "autocontrast": autocontrast,
    "equalize": equalize,
    "posterize": posterize,
    "solarize": solarize,
}
"""Operations that leave pixels in their place."""
