"""Transfer from a pretrained model: weights, fine-tuning, domain adaptation."""

from tfmeta.transfer.adapters import (
    adapters_of,
    add_adapters,
    load_delta,
    merge_adapters,
    save_delta,
    trained_share,
)
from tfmeta.transfer.averaging import EMA, SWA, WeightAveraging
from tfmeta.transfer.domain_adaptation import (
    DAN,
    DANN,
    DeepCORAL,
    pseudo_labels,
)
from tfmeta.transfer.domain_batches import domain_pairs, joint_batches
from tfmeta.transfer.ensembles import Ensemble
from tfmeta.transfer.fine_tune import FineTune, Stage
from tfmeta.transfer.forgetting import ForgettingReport, forgetting
from tfmeta.transfer.joint import JointTransfer
from tfmeta.transfer.recalibration import recalibrate
from tfmeta.transfer.self_supervised import PretextLearner, RotationPrediction, SimCLR
from tfmeta.transfer.snapshots import SnapshotEnsemble
from tfmeta.transfer.soups import Soup, model_soup
from tfmeta.transfer.weights import CopiedWeights, copy_weights, layer_weights, read_h5

__all__ = [
    "DAN",
    "DANN",
    "EMA",
    "SWA",
    "CopiedWeights",
    "DeepCORAL",
    "Ensemble",
    "FineTune",
    "ForgettingReport",
    "JointTransfer",
    "PretextLearner",
    "RotationPrediction",
    "SimCLR",
    "SnapshotEnsemble",
    "Soup",
    "Stage",
    "WeightAveraging",
    "adapters_of",
    "add_adapters",
    "copy_weights",
    "domain_pairs",
    "forgetting",
    "joint_batches",
    "layer_weights",
    "load_delta",
    "merge_adapters",
    "model_soup",
    "pseudo_labels",
    "read_h5",
    "recalibrate",
    "save_delta",
    "trained_share",
]
