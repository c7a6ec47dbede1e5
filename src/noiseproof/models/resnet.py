"""Residual nets for small images: 6n + 2 layers in three stages, or 18 in four.

The nets of He, Zhang, Ren and Sun, arXiv 1512.03385, section 4.2, and their ResNet-18 with a first
layer for small images: a 3 × 3 convolution, stages of basic blocks that double the channels and
halve the sides, the mean over positions, a readout. Where a block changes its shape the way around
it is a 1 × 1 convolution.
"""

import math
from functools import partial
from typing import NamedTuple

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
    convolve_patches,
    dense,
    init_layers,
)
from noiseproof.models.norms import Normalize
from noiseproof.types import Model, Params

COMPUTE_TYPES = ("float32", "bfloat16")
MOST_LAYERS = 1202
"""The deepest net of the paper."""


class Convolution(NamedTuple):
    """A layer before the readout.

    Attributes:
        shape: Of its filters: height, width, fan in, fan out.
        stride: Positions from one to the next.
    """

    shape: tuple[int, int, int, int]
    stride: int


class Block(NamedTuple):
    """Two convolutions, and the way around them: a third one, or none that changes nothing."""

    first: Convolution
    second: Convolution
    around: Convolution | None


def resnet(
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    depth: int = 8,
    width: int = 16,
    norm: str | None = "batch",
    patches: bool = True,
    compute_type: str = "float32",
) -> Model:
    """A residual net.

    Args:
        image_shape: (height, width, channels) of one image.
        num_classes: Number of logits, at least 2.
        depth: Layers: 8, 14, 20 and so on in three stages, or 18 in four.
        width: Channels of the first stage; each stage doubles them.
        norm: `"batch"`, `"layer"`, `"group"` or None, after every convolution. Without one the
            branches of n blocks are divided by the root of n.
        patches: Whether convolutions multiply patches, which is faster for many classifiers at
            once, or are XLA's own, which is faster for one large classifier.
        compute_type: Of convolutions, `"float32"` or `"bfloat16"`; norms and weights are float32.

    Raises:
        ValueError: A shape or size is not positive, or depth, norm or type is unknown.
    """
    check_image_shape(image_shape)
    check_num_classes(num_classes)
    if compute_type not in COMPUTE_TYPES:
        raise ValueError(f"compute_type must be float32 or bfloat16, got {short(compute_type)}.")
    check_sizes("width", (width,), norm)
    stem, blocks = architecture(image_shape[2], depth, width)
    shapes = [one.shape for one in convolutions(stem, blocks)]
    fan_in = blocks[-1].second.shape[-1]
    branch = 1.0 if norm else len(blocks) ** -0.5
    convolve = partial(convolved, patches=patches, dtype=jnp.dtype(compute_type))

    def init(key: PRNGKeyArray) -> Params:
        *layers, readout = init_layers([*shapes, (fan_in, num_classes)], norm, key)
        # Half the variance of a layer before a ReLU: the readout's logits start small.
        return [*layers, readout | {"weight": readout["weight"] * math.sqrt(0.5)}]

    def forward(
        params: Params,
        images: Float[Array, "batch height width channels"],
        normalize: Normalize,
        after: AfterLayer,
    ) -> Float[Array, "batch classes"]:
        *layers, readout = params
        remaining = iter(layers)

        def layer(one: Convolution, features: Float[Array, "batch ..."]) -> Array:
            own = next(remaining)
            return normalize(own, convolve(own["weight"], features, one.stride))

        features = jax.nn.relu(layer(stem, images))
        for index, block in enumerate(blocks):
            inside = jax.nn.relu(layer(block.first, features))
            inside = layer(block.second, inside)
            around = features if block.around is None else layer(block.around, features)
            features = after(jax.nn.relu(around + branch * inside), index)
        return dense(readout, features.mean(axis=(1, 2), dtype=jnp.float32))

    return classifier(init, forward, norm=norm, image_shape=image_shape)


def architecture(num_channels: int, depth: int, width: int) -> tuple[Convolution, list[Block]]:
    """The first layer and the blocks.

    Raises:
        ValueError: There is no net of that depth.
    """
    if depth == 18:
        stages = (2, 2, 2, 2)
    elif 8 <= depth <= MOST_LAYERS and (depth - 2) % 6 == 0:
        stages = ((depth - 2) // 6,) * 3
    else:
        raise ValueError(
            f"depth must be 18, or 8 and any number of sixes more up to {MOST_LAYERS}, got {depth}."
        )
    blocks, fan_in = [], width
    for stage, num_blocks in enumerate(stages):
        fan_out = width * 2**stage
        for place in range(num_blocks):
            stride = 2 if stage > 0 and place == 0 else 1
            changes = stride > 1 or fan_in != fan_out
            blocks.append(
                Block(
                    Convolution((3, 3, fan_in, fan_out), stride),
                    Convolution((3, 3, fan_out, fan_out), 1),
                    Convolution((1, 1, fan_in, fan_out), stride) if changes else None,
                )
            )
            fan_in = fan_out
    return Convolution((3, 3, num_channels, width), 1), blocks


def convolutions(stem: Convolution, blocks: list[Block]) -> list[Convolution]:
    """All of them, in the order of the params."""
    inside = [one for block in blocks for one in block if one is not None]
    return [stem, *inside]


def convolved(
    filters: Float[Array, "filter_height filter_width fan_in fan_out"],
    images: Float[Array, "batch height width fan_in"],
    stride: int,
    *,
    patches: bool,
    dtype: jnp.dtype,
) -> Float[Array, "batch new_height new_width fan_out"]:
    """A convolution that keeps the size, divided by the stride."""
    filters, images = filters.astype(dtype), images.astype(dtype)
    if patches:
        return convolve_patches(images, filters, stride=stride)
    return jax.lax.conv_general_dilated(
        images, filters, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
