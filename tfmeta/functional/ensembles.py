"""Several classifiers as one: their mean prediction, and the weights that held-out data gives."""

from __future__ import annotations

import tensorflow as tf


def mixture_log_probabilities(log_probabilities: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Log of the weighted mean of probabilities: `log sum_m w_m p_m`.

    Args:
        log_probabilities: of each model, `[models, n, n_way]`.
        weights: `[models]`, not negative, with sum 1.

    Returns:
        `[n, n_way]`; as logits they stand for the same probabilities.

    Example:
        >>> each = tf.math.log([[[0.9, 0.1]], [[0.5, 0.5]]])
        >>> tf.exp(mixture_log_probabilities(each, tf.constant([0.5, 0.5]))).numpy().round(4)
        array([[0.7, 0.3]], dtype=float32)
    """
    log_weights = tf.math.log(weights)[:, tf.newaxis, tf.newaxis]
    return tf.reduce_logsumexp(log_probabilities + log_weights, axis=0)


def pseudo_likelihood_weights(log_likelihoods: tf.Tensor) -> tf.Tensor:
    """Weights of models in proportion to the likelihood of examples that they had not seen.

    `w_m = exp(l_m) / sum_k exp(l_k)` with `l_m` the sum over the examples of `log p_m(y | x)`
    ("pseudo-BMA" in Yao et al. 2018, "Using Stacking to Average Bayesian Predictive
    Distributions", section 3.4). Where there was no such example all sums are 0, and the weights
    equal.

    Args:
        log_likelihoods: sums `[models]`.

    Returns:
        `[models]` with sum 1.

    Example:
        >>> pseudo_likelihood_weights(tf.math.log([0.3, 0.1])).numpy().round(4)
        array([0.75, 0.25], dtype=float32)
    """
    return tf.nn.softmax(log_likelihoods)


def accuracy_weights(n_right: tf.Tensor) -> tf.Tensor:
    """Weights of models in proportion to how many unseen examples they got right, and one more.

    `w_m = (r_m + 1) / sum_k (r_k + 1)`: no model is ruled out, and without examples the weights
    are equal.

    Args:
        n_right: numbers of examples `[models]`, floats.

    Returns:
        `[models]` with sum 1.

    Example:
        >>> accuracy_weights(tf.constant([2.0, 0.0])).numpy()
        array([0.75, 0.25], dtype=float32)
    """
    return (n_right + 1.0) / tf.reduce_sum(n_right + 1.0)


def support_folds(labels: tf.Tensor, n_folds: int) -> tf.Tensor:
    """The fold in which each example is held out, so that every class keeps an example.

    The examples of a class go to the folds in turn. An example that is alone in its class is never
    held out. With as many folds as shots this leaves out one example of each class at a time.

    Args:
        labels: class numbers `[n]` int32.
        n_folds: at least 2.

    Returns:
        `[n]` int32, `0 ... n_folds - 1`, or -1 for an example that is never held out.

    Example:
        >>> support_folds(tf.constant([0, 1, 0, 0, 2, 2]), 2).numpy()
        array([ 0, -1,  1,  0,  0,  1], dtype=int32)
    """
    same = tf.cast(labels[:, tf.newaxis] == labels, "int32")
    rank = tf.reduce_sum(tf.linalg.band_part(same, -1, 0), axis=1) - 1
    return tf.where(tf.reduce_sum(same, axis=1) > 1, rank % n_folds, -1)
