"""A multilayer perceptron on the pixels: the classifier on which learned rules grow up."""

import math
from itertools import pairwise

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from noiseproof.layouts.tensors import check_image_shape
from noiseproof.models.layers import (
    AfterLayer,
    check_num_classes,
    check_sizes,
    classifier,
    dense,
    init_layers,
)
from noiseproof.models.norms import Normalize
from noiseproof.types import Model, Params


def mlp(
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    hidden_sizes: tuple[int, ...] = (32,),
    norm: str | None = None,
) -> Model:
    """Fully connected layers with ReLU between them.

    Args:
        image_shape: (height, width, channels) of one image.
        num_classes: Number of logits, at least 2.
        hidden_sizes: Units of each hidden layer; empty for a linear classifier.
        norm: `"layer"`, `"group"`, `"batch"` or None, before every ReLU.

    Returns:
        A model whose params are a list of layers from input to readout.

    Raises:
        ValueError: A shape or size is not positive, or `norm` is unknown or divides no size.
    """
    check_image_shape(image_shape)
    check_num_classes(num_classes)
    check_sizes("hidden_sizes", hidden_sizes, norm)
    sizes = (math.prod(image_shape), *hidden_sizes, num_classes)

    def init(key: PRNGKeyArray) -> Params:
        return init_layers(list(pairwise(sizes)), norm, key)

    def forward(
        params: Params,
        images: Float[Array, "batch height width channels"],
        normalize: Normalize,
        after: AfterLayer,
    ) -> Float[Array, "batch classes"]:
        *hidden, readout = params
        features = images.reshape(images.shape[0], -1)
        for index, layer in enumerate(hidden):
            product = features @ layer["weight"]
            features = after(jax.nn.relu(normalize(layer, product)), index)
        return dense(readout, features)

    return classifier(init, forward, norm=norm, image_shape=image_shape)
