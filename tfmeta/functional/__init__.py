"""Equations as pure functions on tensors: distances, prototypes, moments, losses."""

from tfmeta.functional.batch_norm import (
    batch_norm_gradients,
    fused_batch_norm,
    has_batch_norm_kernel,
)
from tfmeta.functional.conjugate_gradient import conjugate_gradient
from tfmeta.functional.distances import DISTANCES, cosine_distance, squared_euclidean
from tfmeta.functional.losses import (
    accuracy,
    cross_entropy,
    episode_loss,
    is_classification,
    mean_squared_error,
)
from tfmeta.functional.moments import exact_moments
from tfmeta.functional.multi_step import multi_step_weights
from tfmeta.functional.prototypes import class_means, prototype_classifier

__all__ = [
    "DISTANCES",
    "accuracy",
    "batch_norm_gradients",
    "class_means",
    "conjugate_gradient",
    "cosine_distance",
    "cross_entropy",
    "episode_loss",
    "exact_moments",
    "fused_batch_norm",
    "has_batch_norm_kernel",
    "is_classification",
    "mean_squared_error",
    "multi_step_weights",
    "prototype_classifier",
    "squared_euclidean",
]
