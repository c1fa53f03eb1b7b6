"""Learners: one paper a file, all of them `keras.Model`s that `fit` on episodes."""

from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.baseline_plus_plus import BaselinePlusPlus
from tfmeta.learners.embedding_learner import EmbeddedSupport, EmbeddingLearner
from tfmeta.learners.ensemble import EnsembleLearner, EnsembleState
from tfmeta.learners.feat import FEAT, AdaptedPrototypes
from tfmeta.learners.gradient_learner import AdaptedNetwork, GradientLearner
from tfmeta.learners.implicit_maml import ImplicitMAML
from tfmeta.learners.inner_memory import InnerMemory
from tfmeta.learners.learned_optimizer import (
    LearnedOptimizer,
    optimization_curves,
    optimization_tasks,
)
from tfmeta.learners.maml import MAML
from tfmeta.learners.matching_network import MatchingNetwork
from tfmeta.learners.meta_lstm import MetaLSTM
from tfmeta.learners.meta_opt_net import MetaOptNet
from tfmeta.learners.optimizees import NetworkTraining, Optimizee, Quadratics
from tfmeta.learners.plan import MemoryPlan
from tfmeta.learners.prototype_learner import PrototypeLearner, Prototypes
from tfmeta.learners.prototypical_network import PrototypicalNetwork
from tfmeta.learners.r2d2 import R2D2
from tfmeta.learners.relation_network import RelationNetwork
from tfmeta.learners.reptile import Reptile
from tfmeta.learners.sequence_learner import ReadSupport, SequenceLearner
from tfmeta.learners.siamese_network import SiameseNetwork
from tfmeta.learners.simple_shot import SimpleShot
from tfmeta.learners.stream_classifier import InstanceAccuracy, StreamClassifier

__all__ = [
    "FEAT",
    "MAML",
    "R2D2",
    "AdaptedNetwork",
    "AdaptedPrototypes",
    "BaselinePlusPlus",
    "EmbeddedSupport",
    "EmbeddingLearner",
    "EnsembleLearner",
    "EnsembleState",
    "EpisodicLearner",
    "GradientLearner",
    "ImplicitMAML",
    "InnerMemory",
    "InstanceAccuracy",
    "LearnedOptimizer",
    "MatchingNetwork",
    "MemoryPlan",
    "MetaLSTM",
    "MetaOptNet",
    "NetworkTraining",
    "Optimizee",
    "PrototypeLearner",
    "Prototypes",
    "PrototypicalNetwork",
    "Quadratics",
    "ReadSupport",
    "RelationNetwork",
    "Reptile",
    "SequenceLearner",
    "SiameseNetwork",
    "SimpleShot",
    "StreamClassifier",
    "optimization_curves",
    "optimization_tasks",
]
