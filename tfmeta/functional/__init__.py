"""Equations as pure functions on tensors: distances, prototypes, moments, losses."""

from tfmeta.functional.attention import (
    attention_log_probabilities,
    scaled_dot_product_attention,
)
from tfmeta.functional.batch_norm import (
    batch_norm,
    batch_norm_gradients,
    batch_norm_second_gradients,
    fused_batch_norm,
    has_batch_norm_kernel,
)
from tfmeta.functional.calibration import (
    KNOWN_SCORES,
    auroc,
    binned_calibration_error,
    calibration_bins,
    expected_calibration_error,
    max_logit,
    max_probability,
    negative_log_likelihood,
)
from tfmeta.functional.character_ngrams import character_ngrams
from tfmeta.functional.conjugate_gradient import conjugate_gradient
from tfmeta.functional.contrastive import nt_xent, view_logits
from tfmeta.functional.distances import (
    DISTANCES,
    cosine_distance,
    diagonal_mahalanobis,
    squared_euclidean,
)
from tfmeta.functional.ensembles import (
    accuracy_weights,
    mixture_log_probabilities,
    pseudo_likelihood_weights,
    support_folds,
)
from tfmeta.functional.forecast_errors import mase, naive_error, owa, smape
from tfmeta.functional.instances import accuracy_by_instance, instance_numbers
from tfmeta.functional.logistic_regression import linear_probe, logistic_regression
from tfmeta.functional.losses import (
    accuracy,
    cross_entropy,
    episode_loss,
    is_classification,
    mean_squared_error,
)
from tfmeta.functional.lstm import lstm_step
from tfmeta.functional.meta_lstm import gated_update, preprocess_gradient
from tfmeta.functional.moments import exact_moments
from tfmeta.functional.multi_step import multi_step_weights
from tfmeta.functional.pair_losses import (
    absolute_differences,
    balanced_mean,
    batch_hard_triplets,
    contrastive_loss,
    euclidean_distance,
    pair_cross_entropy,
    same_class,
    triplet_loss,
)
from tfmeta.functional.prototypes import class_means, merged_means, prototype_classifier
from tfmeta.functional.rank_correlation import kendall, spearman
from tfmeta.functional.ridge import ridge_regression
from tfmeta.functional.seasonality import (
    autocorrelation,
    is_seasonal,
    naive2,
    seasonal_factors,
)
from tfmeta.functional.soft_kmeans import soft_kmeans_step
from tfmeta.functional.svm import svm_dual, svm_dual_objective
from tfmeta.functional.tim import tim_logits, tim_loss, tim_weights
from tfmeta.functional.transferability import h_score, log_me

__all__ = [
    "DISTANCES",
    "KNOWN_SCORES",
    "absolute_differences",
    "accuracy",
    "accuracy_by_instance",
    "accuracy_weights",
    "attention_log_probabilities",
    "auroc",
    "autocorrelation",
    "balanced_mean",
    "batch_hard_triplets",
    "batch_norm",
    "batch_norm_gradients",
    "batch_norm_second_gradients",
    "binned_calibration_error",
    "calibration_bins",
    "character_ngrams",
    "class_means",
    "conjugate_gradient",
    "contrastive_loss",
    "cosine_distance",
    "cross_entropy",
    "diagonal_mahalanobis",
    "episode_loss",
    "euclidean_distance",
    "exact_moments",
    "expected_calibration_error",
    "fused_batch_norm",
    "gated_update",
    "h_score",
    "has_batch_norm_kernel",
    "instance_numbers",
    "is_classification",
    "is_seasonal",
    "kendall",
    "linear_probe",
    "log_me",
    "logistic_regression",
    "lstm_step",
    "mase",
    "max_logit",
    "max_probability",
    "mean_squared_error",
    "merged_means",
    "mixture_log_probabilities",
    "multi_step_weights",
    "naive2",
    "naive_error",
    "negative_log_likelihood",
    "nt_xent",
    "owa",
    "pair_cross_entropy",
    "preprocess_gradient",
    "prototype_classifier",
    "pseudo_likelihood_weights",
    "ridge_regression",
    "same_class",
    "scaled_dot_product_attention",
    "seasonal_factors",
    "smape",
    "soft_kmeans_step",
    "spearman",
    "squared_euclidean",
    "support_folds",
    "svm_dual",
    "svm_dual_objective",
    "tim_logits",
    "tim_loss",
    "tim_weights",
    "triplet_loss",
    "view_logits",
]
