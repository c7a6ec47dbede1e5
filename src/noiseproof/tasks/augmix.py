"""AugMix: an image mixed with chains of random operations on it, as a training augmentation.

Some chains of one to a few operations each are mixed with random weights, and the mixture with the
image itself. The operations are those of the published list that no corruption of CIFAR-10-C
repeats. Not done is the second half of the paper, a loss that asks two augmented copies for the
same prediction (Jensen-Shannon): this is the variant that the paper calls without it.

Source: Hendrycks, Mu, Cubuk, Zoph, Gilmer, Lakshminarayanan, arXiv 1912.02781. Operations are in
real numbers where the published code rounds, and turn and shear about the center of the image.
"""

import math

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

    def chain(image: Image, key: PRNGKeyArray) -> Image:
        length_key, steps_key = jax.random.split(key)
        length = jax.random.randint(length_key, (), 1, max_length + 1)

        def step(place: Int[Array, ""], result: Image) -> Image:
            operated = random_operation(result, strength, jax.random.fold_in(steps_key, place))
            return jnp.where(place < length, operated, result)

        return jax.lax.fori_loop(0, max_length, step, image)

    def transform(image: Image, key: PRNGKeyArray) -> Image:
        weights_key, share_key, chains_key = jax.random.split(key, 3)
        chains = jax.vmap(lambda key: chain(image, key))(jax.random.split(chains_key, num_chains))
        weights = jax.random.dirichlet(weights_key, jnp.ones(num_chains))
        share = jax.random.uniform(share_key)
        return (1.0 - share) * image + share * jnp.einsum("k,khwc->hwc", weights, chains)

    return transform


def random_operation(image: Image, strength: float, key: PRNGKeyArray) -> Image:
    """One of the operations, drawn evenly, at a strength up to this one."""
    which_key, strength_key, sign_key = jax.random.split(key, 3)
    # Every operation is computed, as any branch would be along an axis of images.
    num_tones = len(TONES)
    which = jax.random.randint(which_key, (), 0, num_tones + NUM_MOTIONS)
    drawn = jax.random.uniform(strength_key, minval=LEAST_STRENGTH, maxval=strength)
    motion = jnp.maximum(which - num_tones, 0)
    moved = move(image, motion, drawn * jax.random.rademacher(sign_key, (), jnp.float32))
    toned = [tone(image, drawn) for tone in TONES.values()]
    return jax.lax.select_n(jnp.minimum(which, num_tones), *toned, moved)


def move(image: Image, motion: Int[Array, ""], strength: Scalar) -> Image:
    """Turns, shears (along rows, along columns) or shifts (likewise) the image; black beyond."""
    height, width, _ = image.shape
    center = jnp.array([(height - 1) / 2, (width - 1) / 2])
    matrix, shift = motions(strength, height, width)
    points = jnp.moveaxis(jnp.mgrid[:height, :width], 0, -1) - center
    source = jnp.einsum("ij,hwj->hwi", matrix[motion], points) + center + shift[motion]
    return sample(image, source[..., 0], source[..., 1], "zero")


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
