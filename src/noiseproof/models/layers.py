"""Layers as dicts of arrays, and the functions that apply them.

A layer is `{"weight", "bias"}`, with more where it is normalized (see `norms`). A convolution lays
patches side by side and multiplies them by the filters as one matrix (im2col; Chellapilla, Puri and
Simard, 2006): XLA leaves its own fast convolution on a CPU as soon as it stands inside a loop, and
on a GPU where many classifiers with weights of their own are trained at once (docs/speed.md).
Initial weights: He, Zhang, Ren and Sun, 2015, arXiv 1502.01852. Dropout: Srivastava et al., 2014,
JMLR 15, pages 1929-1958.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from noiseproof.messages import short
from noiseproof.models.norms import (
    NORMS,
    NUM_GROUPS,
    Layer,
    Normalize,
    normalize_alone,
    normalize_by_batch,
    statistics,
    with_norm,
)
from noiseproof.types import Model, Params

AfterLayer: TypeAlias = Callable[[Float[Array, "batch ..."], int], Float[Array, "batch ..."]]
"""`(features, layer) -> features`: what is done to the output of each hidden layer."""

Forward: TypeAlias = Callable[[Params, Float[Array, "..."], Normalize, AfterLayer], Any]
"""`(params, images, normalize, after) -> logits`: a forward pass, but for norms and dropout."""


def check_sizes(what: str, sizes: Sequence[int], norm: str | None) -> None:
    """Raise ValueError unless all `sizes`, called `what`, are positive and `norm` divides them."""
    if any(size < 1 for size in sizes):
        raise ValueError(f"{what} must be positive, got {short(tuple(sizes))}.")
    if norm not in NORMS:
        allowed = ", ".join(str(one) for one in NORMS[1:])
        raise ValueError(f"norm must be None or one of {allowed}, got {short(norm)}.")
    groups = NUM_GROUPS.get(norm or "", 1)
    if any(size % groups for size in sizes):
        raise ValueError(
            f"{what} must be multiples of {groups} for norm {norm!r}, got {short(tuple(sizes))}."
        )


def check_num_classes(num_classes: int) -> None:
    """Raise ValueError unless there are at least two classes."""
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}.")


def check_images(images: Float[Array, "batch ..."], image_shape: Sequence[int]) -> None:
    """Raise ValueError unless `images` is a batch of images of `image_shape`, one at least."""
    if images.shape[:1] == (0,):
        raise ValueError("images must hold one image at least, got an empty batch.")
    if images.shape[1:] != tuple(image_shape):
        raise ValueError(
            f"images must have the shape (batch, *{tuple(image_shape)}), got {images.shape}."
        )


def init_layers(
    weight_shapes: Sequence[tuple[int, ...]], norm: str | None, key: PRNGKeyArray
) -> list[Layer]:
    """The layers of a classifier with He-normal weights and zero biases.

    Args:
        weight_shapes: Shapes of the weights from input to readout, inputs before outputs.
        norm: Of all layers but the readout.
        key: Random key.
    """
    sizes = [math.prod(shape) for shape in weight_shapes]
    # One flat draw for all: XLA compiles it in 0.3 s, a draw in the shape of each weight in 0.9 s.
    normal = jax.random.normal(key, (sum(sizes),))
    draws = jnp.split(normal, list(accumulate(sizes))[:-1])
    layers = [_init_layer(*one) for one in zip(draws, weight_shapes, strict=True)]
    return [*(with_norm(layer, norm) for layer in layers[:-1]), layers[-1]]


def _init_layer(normal: Float[Array, " size"], weight_shape: tuple[int, ...]) -> Layer:
    std = math.sqrt(2 / math.prod(weight_shape[:-1]))
    return {"weight": std * normal.reshape(weight_shape), "bias": jnp.zeros(weight_shape[-1])}


def dense(
    layer: Layer, features: Float[Array, "batch *space fan_in"]
) -> Float[Array, "batch *space fan_out"]:
    """A fully connected layer without a norm."""
    return features @ layer["weight"] + layer["bias"]


@partial(jax.jit, static_argnames="stride")
def convolve_patches(
    images: Float[Array, "batch height width fan_in"],
    filters: Float[Array, "filter_height filter_width fan_in fan_out"],
    *,
    stride: int,
) -> Float[Array, "batch new_height new_width fan_out"]:
    """The convolution as one product of a matrix of patches with the matrix of filters.

    With a stride of one patches are of one row, a third of the memory, and every row of the filters
    is an output of its own, of which those that lie below each other are added.
    """
    height, width, fan_in, fan_out = filters.shape
    padding = same_padding(images.shape, filters.shape, stride)
    padded = jnp.pad(images, ((0, 0), *padding, (0, 0)))
    last_row = padded.shape[1] - height + 1
    last_column = padded.shape[2] - width + 1
    rows = [slice(row, row + last_row, stride) for row in range(height)]
    columns = [slice(column, column + last_column, stride) for column in range(width)]
    if stride == 1:
        patches = jnp.concatenate([padded[:, :, column] for column in columns], axis=-1)
        by_row = filters.transpose(1, 2, 0, 3).reshape(width * fan_in, height * fan_out)
        products = times(patches, by_row).reshape(*patches.shape[:3], height, fan_out)
        parts = [products[:, row, :, at] for at, row in enumerate(rows)]
        return sum(parts[1:], parts[0])
    shifted = [padded[:, row, column] for row in rows for column in columns]
    return times(jnp.concatenate(shifted, axis=-1), filters.reshape(-1, fan_out))


def times(
    features: Float[Array, "batch height width rows"], matrix: Float[Array, "rows columns"]
) -> Float[Array, "batch height width columns"]:
    """A product of two matrices, whose gradients XLA multiplies faster than those of more axes."""
    flat = features.reshape(-1, features.shape[-1]) @ matrix
    return flat.reshape(*features.shape[:-1], matrix.shape[-1])


def same_padding(
    image_shape: tuple[int, ...], filter_shape: tuple[int, ...], stride: int
) -> list[tuple[int, int]]:
    """Zeros before and after rows and columns, for an output of ceil(size / stride)."""
    pads = jax.lax.padtype_to_pads(image_shape[1:3], filter_shape[:2], (stride, stride), "SAME")
    return [(int(before), int(after)) for before, after in pads]


def keep_all(features: Float[Array, "batch *space size"], _layer: int) -> Float[Array, "..."]:
    """Features as they are: the forward pass without dropout."""
    return features


def dropout(rate: float | Scalar, key: PRNGKeyArray) -> AfterLayer:
    """Leaves out each feature by a chance of `rate`, in [0, 1), and scales up the others."""

    def drop(features: Float[Array, "batch *space size"], layer: int) -> Float[Array, "..."]:
        kept = jax.random.bernoulli(jax.random.fold_in(key, layer), 1.0 - rate, features.shape)
        return jnp.where(kept, features / (1.0 - rate), 0.0)

    return drop


def classifier(
    init: Callable[[PRNGKeyArray], Params],
    forward: Forward,
    *,
    norm: str | None,
    image_shape: tuple[int, int, int],
) -> Model:
    """A model of its initial weights and its forward pass.

    Args:
        init: `key -> params`, of which all but the last are the normalized layers, in the order in
            which the forward pass takes them, if the norm is over the batch.
        forward: Calls `normalize` on the product of each hidden layer, and `after` on its output.
        norm: The name of the norm.
        image_shape: (height, width, channels) of one image.
    """
    alone = partial(normalize_alone, norm)
    in_training = normalize_by_batch if norm == "batch" else alone

    def run(
        normalize: Normalize,
        after: AfterLayer,
        params: Params,
        images: Float[Array, "batch height width channels"],
    ) -> Float[Array, "batch classes"]:
        check_images(images, image_shape)
        return forward(params, images, normalize, after)

    def apply_dropout(
        params: Params,
        images: Float[Array, "batch height width channels"],
        rate: float | Scalar,
        key: PRNGKeyArray,
    ) -> Float[Array, "batch classes"]:
        return run(in_training, dropout(rate, key), params, images)

    def calibrate(params: Params, images: Float[Array, "batch height width channels"]) -> Params:
        measured: list[Layer] = []

        def normalize(layer: Layer, features: Float[Array, "batch ..."]) -> Array:
            measured.append(layer | statistics(features))
            return alone(measured[-1], features)

        run(normalize, keep_all, params, images)
        return [*measured, params[-1]]

    plain = Model(init, partial(run, alone, keep_all), apply_dropout, image_shape=image_shape)
    if norm != "batch":
        return plain
    return plain._replace(apply_train=partial(run, in_training, keep_all), calibrate=calibrate)
