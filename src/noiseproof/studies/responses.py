"""What a classifier responds to: frequencies of its filters and images, margins, ranks of features.

Sources: the map of errors under single waves, Yin, Lopes, Shlens, Cubuk, Gilmer: A Fourier
perspective on model robustness, arXiv 1906.08988; filters in a cosine basis, Lukasik, Gavrikov,
J. Keuper, M. Keuper, TMLR 2023; effective rank, Roy, Vetterli: The effective rank, EUSIPCO 2007.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend.core import jaxpr_as_fun
from jaxtyping import Array, Float, Int, PRNGKeyArray

from noiseproof.optimizers.matrices import as_matrices
from noiseproof.rivals.frequency import cosine_basis
from noiseproof.tasks.image_classification import to_float
from noiseproof.types import Batch, Model, Params, TensorRole

BAND_EDGES = (0.25, 0.5, 0.75)
"""Of frequencies as shares of the highest; a band of its own is the mean."""

NORM_PER_PIXEL = 0.125
"""Root mean square of a wave before it is clipped: a norm of 4 on an image of 32×32 pixels."""

PRODUCTS = ("dot_general", "conv_general_dilated")
"""Operations whose first operand is what a layer is given."""


def filters_of(
    role: TensorRole, weight: Float[Array, "..."]
) -> Float[Array, "height width channels units"]:
    """The filters of a layer that knows where its inputs lie."""
    return as_matrices(role, weight).reshape(*role.spatial_shape, -1)


def band_energies(
    filters: Float[Array, "height width channels units"],
) -> Float[Array, " bands"]:
    """Shares of the filters' squared norm by band of frequency in a cosine basis (DCT-II).

    The first band is the mean over the image; of the others a frequency is the larger of that
    along rows and that along columns, as a share of the highest, split at `BAND_EDGES`.
    """
    height, width = filters.shape[:2]
    rows, columns = cosine_basis(height), cosine_basis(width)
    squares = (jnp.einsum("ih,jw,hwcu->ijcu", rows, columns, filters) ** 2).sum(axis=(2, 3))
    highest = [np.arange(size) / max(size - 1, 1) for size in (height, width)]
    frequency = np.maximum(highest[0][:, None], highest[1])
    band = np.where(frequency > 0, 1 + np.searchsorted(BAND_EDGES, frequency), 0)
    energies = jax.ops.segment_sum(squares.ravel(), band.ravel(), 2 + len(BAND_EDGES))
    return energies / (energies.sum() + 1e-30)


def half_of_waves(height: int, width: int) -> Int[np.ndarray, "waves 2"]:
    """Frequencies along rows and columns, of two that mirror each other one."""
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width // 2 + 1), indexing="ij"), -1)
    return grid.reshape(-1, 2)


def wave(frequency: Int[Array, " 2"], height: int, width: int) -> Float[Array, "height width"]:
    """The real image of norm 1 whose Fourier transform is at a frequency and its mirror alone.

    Its coefficients there are 1 + i and 1 - i, up to a factor.
    """
    rows, columns = jnp.arange(height)[:, None] / height, jnp.arange(width) / width
    phase = 2.0 * jnp.pi * (frequency[0] * rows + frequency[1] * columns)
    image = jnp.cos(phase + jnp.pi / 4.0)
    return image / jnp.linalg.norm(image)


def fourier_map(
    model: Model, params: Params, batch: Batch, norm: float, key: PRNGKeyArray
) -> Float[Array, "height width"]:
    """The share of images that are misclassified under each wave, low frequencies in the middle.

    Half of the waves are tried, and their mirrors have the same share.

    To every channel of an image the wave is added with a sign of its own, and pixels are clipped.

    Args:
        model: The classifier.
        params: Its weights.
        batch: Labelled images.
        norm: Euclidean norm of what is added to a channel.
        key: Draws the signs.
    """
    images = to_float(batch.images)
    num_images, height, width, channels = images.shape
    signs = jax.random.rademacher(key, (num_images, 1, 1, channels), images.dtype)

    def error(frequency: Int[Array, " 2"]) -> Float[Array, ""]:
        added = norm * signs * wave(frequency, height, width)[:, :, None]
        logits = model.apply(params, jnp.clip(images + added, 0.0, 1.0))
        return (logits.argmax(axis=1) != batch.labels).mean()

    half = jax.lax.map(error, jnp.asarray(half_of_waves(height, width))).reshape(height, -1)
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    mirrored = columns > width // 2
    whole = half[
        np.where(mirrored, -rows % height, rows), np.where(mirrored, width - columns, columns)
    ]
    return jnp.fft.fftshift(whole)


def gradient_spectrum(model: Model, params: Params, batch: Batch) -> Float[Array, " radii"]:
    """Shares of the power of the loss's gradient in the image, by cycles along the image.

    Radii are rounded to whole cycles; what is beyond half the shorter side is left out.
    """
    images = to_float(batch.images)

    def loss(images: Float[Array, "batch height width channels"]) -> Float[Array, ""]:
        logits = model.apply(params, images)
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, batch.labels).sum()

    gradients = jax.grad(loss)(images)
    power = (jnp.abs(jnp.fft.fft2(gradients, axes=(1, 2))) ** 2).sum(axis=(0, 3))
    cycles = [np.fft.fftfreq(size) * size for size in power.shape]
    radius = np.rint(np.hypot(cycles[0][:, None], cycles[1])).astype(int)
    most = min(power.shape) // 2 + 1
    by_radius = jax.ops.segment_sum(power.ravel(), np.minimum(radius, most).ravel(), most + 1)
    return by_radius[:most] / (by_radius[:most].sum() + 1e-30)


def margins(
    logits: Float[Array, "images classes"], labels: Int[Array, " images"]
) -> Float[Array, " images"]:
    """The logit of the true class less the greatest other one; negative where it is wrong."""
    true = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    is_true = jax.nn.one_hot(labels, logits.shape[1], dtype=bool)
    return true - jnp.where(is_true, -jnp.inf, logits).max(axis=1)


def scaled_margins(model: Model, params: Params, batch: Batch) -> Float[Array, " images"]:
    """Margins in units of the spread of all logits about their mean over classes."""
    logits = model.apply(params, to_float(batch.images))
    spread = jnp.sqrt(logits.var(axis=1).mean())
    return margins(logits, batch.labels) / (spread + 1e-30)


def effective_rank(features: Float[Array, "rows features"]) -> Float[Array, ""]:
    """The exponential of the entropy of the singular values of centered features."""
    centered = features - features.mean(axis=0)
    values = jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(centered.T @ centered), 0.0))
    shares = values / (values.sum() + 1e-30)
    return jnp.exp(-(shares * jnp.log(shares + 1e-30)).sum())


def effective_ranks(model: Model, params: Params, batch: Batch) -> Float[Array, " layers"]:
    """The effective rank of what each layer after the first is given, patches of it for filters."""
    later = layer_inputs(model, params, to_float(batch.images))[1:]
    ranks = [effective_rank(given.reshape(-1, given.shape[-1])) for given in later]
    return jnp.stack(ranks) if ranks else jnp.zeros(0)


def layer_inputs(
    model: Model, params: Params, images: Float[Array, "batch height width channels"]
) -> list[Float[Array, "batch ..."]]:
    """What each product with weights is given, in the order of the forward pass."""
    closed = jax.make_jaxpr(model.apply)(params, images)
    given = [eqn.invars[0] for eqn in closed.jaxpr.eqns if eqn.primitive.name in PRODUCTS]
    # The same pass, which ends with these instead of the logits.
    named = closed.jaxpr.debug_info._replace(result_paths=None)
    ends = closed.jaxpr.replace(outvars=given, debug_info=named)
    return jaxpr_as_fun(closed.replace(jaxpr=ends))(*jax.tree.leaves(params), images)
