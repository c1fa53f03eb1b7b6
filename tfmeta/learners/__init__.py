"""Learners: one paper a file, all of them `keras.Model`s that `fit` on episodes."""

from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.maml import MAML, AdaptedNetwork
from tfmeta.learners.prototypical_network import Prototypes, PrototypicalNetwork

__all__ = [
    "MAML",
    "AdaptedNetwork",
    "EpisodicLearner",
    "Prototypes",
    "PrototypicalNetwork",
]
