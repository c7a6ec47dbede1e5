"""Classifiers as pairs of pure functions."""

from noiseproof.models.convnet import convnet
from noiseproof.models.mlp import mlp
from noiseproof.models.resnet import resnet
from noiseproof.models.vit import vit

MODELS = {"mlp": mlp, "convnet": convnet, "resnet": resnet, "vit": vit}
"""Builders by name: `(*, image_shape, num_classes, ...) -> Model`."""
