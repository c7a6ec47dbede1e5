"""A small vision transformer: patches of the image as tokens, which attend to each other.

The encoder of Dosovitskiy, Beyer, Kolesnikov, et al., arXiv 2010.11929: patches times filters, plus
a learned position each; blocks of attention and a perceptron, each on the layer norm of its tokens
and added to them; a layer norm; and a readout of the class token or of the mean over tokens, which
needs no token and does as well (Beyer, Zhai, Kolesnikov, arXiv 2205.01580). The last layers of a
net's branches start smaller the more of them are added up (Radford et al., 2019, GPT-2). Keys have
no bias, since softmax would ignore it.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from noiseproof.layouts.tensors import check_image_shape
from noiseproof.messages import short
from noiseproof.models.layers import (
    AfterLayer,
    check_num_classes,
    check_sizes,
    classifier,
    dense,
    init_layers,
)
from noiseproof.models.norms import NORM_EPSILON, Layer, Normalize
from noiseproof.types import Model, Params

POOLINGS = ("mean", "token")
MOST_BLOCKS = 100
EXPANSION = 4
"""Hidden units of a block's perceptron, in widths."""

TABLE_STD = 0.02
"""Of initial positions and of the class token."""


def vit(
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    patch_size: int = 4,
    width: int = 64,
    depth: int = 4,
    num_heads: int = 4,
    pooling: str = "mean",
) -> Model:
    """A vision transformer.

    Args:
        image_shape: (height, width, channels) of one image.
        num_classes: Number of logits, at least 2.
        patch_size: Rows and columns of a patch; beyond the image its last ones are zero.
        width: Features of a token.
        depth: Blocks, at most 100.
        num_heads: Heads of an attention, which share the width.
        pooling: What is read out: the `"mean"` over tokens, or the class `"token"`.

    Returns:
        A model whose params are a list of the patches' layer, tables, blocks, norm and readout; a
        block is a list of norm, query, key, value, out, norm, and two layers of a perceptron.

    Raises:
        ValueError: A shape or size is out of range, or pooling is unknown.
    """
    check_image_shape(image_shape)
    check_num_classes(num_classes)
    check_sizes("width and num_heads", (width, num_heads), None)
    if width % num_heads:
        raise ValueError(f"width must be a multiple of num_heads, got {width} and {num_heads}.")
    if not 1 <= depth <= MOST_BLOCKS:
        raise ValueError(f"depth must be 1 to {MOST_BLOCKS}, got {depth}.")
    if not 1 <= patch_size <= max(image_shape[:2]):
        raise ValueError(
            f"patch_size must be 1 to the image's larger side, {max(image_shape[:2])}, got"
            f" {patch_size}."
        )
    if pooling not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {short(pooling)}.")
    has_token = pooling == "token"
    rows, columns = (-(-side // patch_size) for side in image_shape[:2])
    block_shapes = [
        *[(width, width)] * 4,
        *pairwise((width, EXPANSION * width, width)),
    ]
    first = (patch_size, patch_size, image_shape[2], width)
    shapes = [first, *block_shapes * depth, (width, num_classes)]

    def init(key: PRNGKeyArray) -> Params:
        patches, *inside, readout = init_layers(shapes, None, key)
        drawn = TABLE_STD * jax.random.normal(
            jax.random.fold_in(key, 1), (has_token + rows * columns, width)
        )
        token = {"token": drawn[0]} if has_token else {}
        per_block = len(block_shapes)
        blocks = [
            start_of_block(inside[at : at + per_block], depth)
            for at in range(0, len(inside), per_block)
        ]
        tables = {"position": drawn[has_token:], **token}
        return [linear(patches), tables, *blocks, no_change(width), linear(readout)]

    def forward(
        params: Params,
        images: Float[Array, "batch height width channels"],
        _normalize: Normalize,
        after: AfterLayer,
    ) -> Float[Array, "batch classes"]:
        patches, tables, *blocks, norm, readout = params
        pixels = patches_of(images, patch_size)
        filters = patches["weight"].reshape(-1, width)
        tokens = pixels @ filters + patches["bias"] + tables["position"]
        if has_token:
            token = jnp.broadcast_to(tables["token"], (len(images), 1, width))
            tokens = jnp.concatenate([token, tokens], axis=1)
        for index, block in enumerate(blocks):
            before, *projections, out, between, up, down = block
            seen = layer_norm(before, tokens)
            tokens += dense(out, attention(projections, seen, num_heads))
            hidden = jax.nn.gelu(dense(up, layer_norm(between, tokens)))
            tokens += dense(down, after(hidden, index))
        tokens = layer_norm(norm, tokens)
        return dense(readout, tokens[:, 0] if has_token else tokens.mean(axis=1))

    return classifier(init, forward, norm=None, image_shape=image_shape)


def linear(layer: Layer, factor: float = 1.0) -> Layer:
    """A layer with the weights for inputs of unit variance, which no ReLU has halved."""
    return layer | {"weight": factor * 0.5**0.5 * layer["weight"]}


def no_change(width: int) -> Layer:
    """A norm at its start."""
    return {"gain": jnp.ones(width), "bias": jnp.zeros(width)}


def start_of_block(layers: list[Layer], depth: int) -> list[Layer]:
    """A block of its drawn layers; its two branches end smaller by the root of all branches."""
    query, key, value, out, up, down = layers
    share = (2 * depth) ** -0.5
    width = len(query["bias"])
    attended = [linear(query), {"weight": linear(key)["weight"]}, linear(value), linear(out, share)]
    return [
        no_change(width),
        *attended,
        no_change(width),
        linear(up),
        down | {"weight": share * down["weight"]},
    ]


def patches_of(
    images: Float[Array, "batch height width channels"], size: int
) -> Float[Array, "batch patches pixels"]:
    """Images cut into squares, row by row; the last ones are filled up with zeros."""
    padding = [(0, -side % size) for side in images.shape[1:3]]
    padded = jnp.pad(images, ((0, 0), *padding, (0, 0)))
    batch, height, width, channels = padded.shape
    cut = padded.reshape(batch, height // size, size, width // size, size, channels)
    return cut.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size * channels)


def layer_norm(
    layer: Layer, tokens: Float[Array, "batch tokens width"]
) -> Float[Array, "batch tokens width"]:
    """Zero mean and unit variance over the features of each token, then gain and bias."""
    mean = tokens.mean(axis=-1, keepdims=True)
    variance = tokens.var(axis=-1, keepdims=True)
    return (tokens - mean) * jax.lax.rsqrt(variance + NORM_EPSILON) * layer["gain"] + layer["bias"]


def attention(
    projections: list[Layer], tokens: Float[Array, "batch tokens width"], num_heads: int
) -> Float[Array, "batch tokens width"]:
    """Every token's mean of the values of all, weighted by how its query fits their keys."""
    query, key, value = projections

    def heads(projected: Float[Array, "batch tokens width"]) -> Float[Array, "..."]:
        return projected.reshape(*projected.shape[:2], num_heads, -1)

    attended = jax.nn.dot_product_attention(
        heads(dense(query, tokens)), heads(tokens @ key["weight"]), heads(dense(value, tokens))
    )
    return attended.reshape(tokens.shape)
