"""Learners: one paper a file, all of them `keras.Model`s that `fit` on episodes."""

from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.embedding_learner import EmbeddedSupport, EmbeddingLearner
from tfmeta.learners.feat import FEAT, AdaptedPrototypes
from tfmeta.learners.gradient_learner import AdaptedNetwork, GradientLearner
from tfmeta.learners.implicit_maml import ImplicitMAML
from tfmeta.learners.maml import MAML
from tfmeta.learners.matching_network import MatchingNetwork
from tfmeta.learners.prototypical_network import Prototypes, PrototypicalNetwork
from tfmeta.learners.relation_network import RelationNetwork
from tfmeta.learners.reptile import Reptile
from tfmeta.learners.siamese_network import SiameseNetwork

__all__ = [
    "FEAT",
    "MAML",
    "AdaptedNetwork",
    "AdaptedPrototypes",
    "EmbeddedSupport",
    "EmbeddingLearner",
    "EpisodicLearner",
    "GradientLearner",
    "ImplicitMAML",
    "MatchingNetwork",
    "Prototypes",
    "PrototypicalNetwork",
    "RelationNetwork",
    "Reptile",
    "SiameseNetwork",
]
