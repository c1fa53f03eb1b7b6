"""Concrete Keras networks, installed and imported as `tfmeta.models`."""

from tfmeta.models.conv4 import conv4
from tfmeta.models.mlp import mlp
from tfmeta.models.pretrained import pretrained
from tfmeta.models.resnet12 import resnet12
from tfmeta.models.squeezenet import squeezenet

__all__ = ["conv4", "mlp", "pretrained", "resnet12", "squeezenet"]
