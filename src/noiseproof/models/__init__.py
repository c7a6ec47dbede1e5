"""Classifiers as pairs of pure functions."""

from noiseproof.models.convnet import convnet
from noiseproof.models.mlp import mlp

MODELS = {"mlp": mlp, "convnet": convnet}
"""Builders by name: `(*, image_shape, num_classes, ...) -> Model`."""
