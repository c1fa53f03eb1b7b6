"""Concrete Keras networks, installed and imported as `tfmeta.models`."""

from tfmeta.models import memory
from tfmeta.models.conv4 import conv4
from tfmeta.models.forecasters import lstm_forecaster, nbeats_forecaster, tcn_forecaster
from tfmeta.models.mlp import mlp
from tfmeta.models.pretrained import pretrained
from tfmeta.models.resnet12 import resnet12
from tfmeta.models.squeezenet import squeezenet
from tfmeta.models.text_cnn import text_cnn
from tfmeta.models.text_ngrams import text_ngrams
from tfmeta.models.text_transformer import text_transformer
from tfmeta.models.text_vectorization import text_vectorization

__all__ = [
    "conv4",
    "lstm_forecaster",
    "memory",
    "mlp",
    "nbeats_forecaster",
    "pretrained",
    "resnet12",
    "squeezenet",
    "tcn_forecaster",
    "text_cnn",
    "text_ngrams",
    "text_transformer",
    "text_vectorization",
]
