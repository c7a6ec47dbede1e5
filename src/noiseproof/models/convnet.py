"""A small convolutional classifier, cheap enough for thousands of inner runs.

Every convolution has 3 × 3 filters and stride 2, which costs a third of full resolution followed
by pooling; the readout sees all positions of the last one, so that short runs learn where things
are.
"""

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from noiseproof.layouts.tensors import check_image_shape
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

STRIDE = 2


def convnet(
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    channels: tuple[int, ...] = (8, 16, 32),
    norm: str | None = None,
) -> Model:
    """Strided 3 × 3 convolutions with ReLU, then a dense readout.

    Args:
        image_shape: (height, width, channels) of one image.
        num_classes: Number of logits, at least 2.
        channels: Output channels of each convolution; each halves height and width, rounded up.
        norm: `"layer"`, `"group"`, `"batch"` or None, before every ReLU.

    Returns:
        A model whose params are a list of layers from input to readout.

    Raises:
        ValueError: A shape or size is not positive, there is no convolution, or `norm` is unknown
            or divides no size.
    """
    check_image_shape(image_shape)
    check_num_classes(num_classes)
    check_sizes("channels", channels, norm)
    if not channels:
        raise ValueError("channels must name at least one convolution, got ().")
    shapes = weight_shapes(image_shape, num_classes, channels)

    def init(key: PRNGKeyArray) -> Params:
        return init_layers(shapes, norm, key)

    def forward(
        params: Params,
        images: Float[Array, "batch height width channels"],
        normalize: Normalize,
        after: AfterLayer,
    ) -> Float[Array, "batch classes"]:
        *convolutions, readout = params
        features = images
        for index, layer in enumerate(convolutions):
            product = convolve_patches(features, layer["weight"], stride=STRIDE)
            features = after(jax.nn.relu(normalize(layer, product)), index)
        return dense(readout, features.reshape(features.shape[0], -1))

    return classifier(init, forward, norm=norm, image_shape=image_shape)


def weight_shapes(
    image_shape: tuple[int, int, int], num_classes: int, channels: tuple[int, ...]
) -> list[tuple[int, ...]]:
    """Shapes of all weights from input to readout."""
    height, width, _ = image_shape
    for _ in channels:
        height, width = -(-height // STRIDE), -(-width // STRIDE)
    fan_ins = (image_shape[2], *channels[:-1])
    filters = [(3, 3, fan_in, fan_out) for fan_in, fan_out in zip(fan_ins, channels, strict=True)]
    return [*filters, (height * width * channels[-1], num_classes)]
