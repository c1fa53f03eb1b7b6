"""Transfer from a pretrained model: weights, fine-tuning, domain adaptation."""

from tfmeta.transfer.adapters import (
    adapters_of,
    add_adapters,
    load_delta,
    merge_adapters,
    save_delta,
    trained_share,
)
from tfmeta.transfer.domain_adaptation import (
    DAN,
    DANN,
    DeepCORAL,
    pseudo_labels,
)
from tfmeta.transfer.domain_batches import domain_pairs, joint_batches
from tfmeta.transfer.fine_tune import FineTune, Stage
from tfmeta.transfer.joint import JointTransfer
from tfmeta.transfer.recalibration import recalibrate
from tfmeta.transfer.weights import CopiedWeights, copy_weights, layer_weights, read_h5

__all__ = [
    "DAN",
    "DANN",
    "CopiedWeights",
    "DeepCORAL",
    "FineTune",
    "JointTransfer",
    "Stage",
    "adapters_of",
    "add_adapters",
    "copy_weights",
    "domain_pairs",
    "joint_batches",
    "layer_weights",
    "load_delta",
    "merge_adapters",
    "pseudo_labels",
    "read_h5",
    "recalibrate",
    "save_delta",
    "trained_share",
]
