"""Transfer from a pretrained model: weights, fine-tuning, domain adaptation."""

from tfmeta.transfer.weights import CopiedWeights, copy_weights, layer_weights, read_h5

__all__ = ["CopiedWeights", "copy_weights", "layer_weights", "read_h5"]
