"""Transfer from a pretrained model: weights, fine-tuning, domain adaptation."""

from tfmeta.transfer.fine_tune import FineTune, Stage
from tfmeta.transfer.recalibration import recalibrate
from tfmeta.transfer.weights import CopiedWeights, copy_weights, layer_weights, read_h5

__all__ = [
    "CopiedWeights",
    "FineTune",
    "Stage",
    "copy_weights",
    "layer_weights",
    "read_h5",
    "recalibrate",
]
