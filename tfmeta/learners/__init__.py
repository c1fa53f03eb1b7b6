"""Learners: one paper a file, all of them `keras.Model`s that `fit` on episodes."""

from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.gradient_learner import AdaptedNetwork, GradientLearner
from tfmeta.learners.implicit_maml import ImplicitMAML
from tfmeta.learners.maml import MAML
from tfmeta.learners.prototypical_network import Prototypes, PrototypicalNetwork
from tfmeta.learners.reptile import Reptile

__all__ = [
    "MAML",
    "AdaptedNetwork",
    "EpisodicLearner",
    "GradientLearner",
    "ImplicitMAML",
    "Prototypes",
    "PrototypicalNetwork",
    "Reptile",
]
