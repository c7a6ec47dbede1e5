"""Classifiers as pairs of pure functions."""

from noiseproof.models.convnet import convnet
from noiseproof.models.mlp import mlp
from noiseproof.models.resnet import resnet

MODELS = {"mlp": mlp, "convnet": convnet, "resnet": resnet}
"""Builders by name: `(*, image_shape, num_classes, ...) -> Model`."""
