"""Distances between queries and prototypes.

Each is summed over the features of one pair. A matrix product would be the same equation, but the
order of its sums depends on how many prototypes there are: with a class more or less, the last bits
of every other class's distance would change.
"""

from __future__ import annotations

import tensorflow as tf


def squared_euclidean(queries: tf.Tensor, prototypes: tf.Tensor) -> tf.Tensor:
    """Squared Euclidean distance of every query to every prototype.

    `d(q, p) = sum_i (q_i - p_i)^2`, the Bregman divergence for which the mean is the best prototype
    (Snell et al. 2017, section 2.3).

    Args:
        queries: `[query, features]`.
        prototypes: `[n_way, features]`.

    Returns:
        `[query, n_way]`, of the dtype of the queries.

    Example:
        >>> squared_euclidean(tf.constant([[1.0, 2.0]]), tf.constant([[1.0, 0.0]])).numpy()
        array([[4.]], dtype=float32)
    """
    differences = queries[:, tf.newaxis] - prototypes[tf.newaxis]
    return tf.reduce_sum(tf.square(differences), axis=-1)


def cosine_distance(queries: tf.Tensor, prototypes: tf.Tensor) -> tf.Tensor:
    """One minus the cosine of the angle between every query and every prototype.

    Args:
        queries: `[query, features]`.
        prototypes: `[n_way, features]`.

    Returns:
        `[query, n_way]`, from 0 (same direction) to 2 (opposite).

    Example:
        >>> cosine_distance(tf.constant([[1.0, 0.0]]), tf.constant([[0.0, 3.0]])).numpy()
        array([[1.]], dtype=float32)
    """
    queries, prototypes = _unit(queries), _unit(prototypes)
    return 1.0 - tf.reduce_sum(queries[:, tf.newaxis] * prototypes[tf.newaxis], axis=-1)


def diagonal_mahalanobis(
    queries: tf.Tensor, prototypes: tf.Tensor, precision: tf.Tensor
) -> tf.Tensor:
    """Squared Mahalanobis distance of a diagonal matrix of every query to every prototype.

    `d(q, p) = sum_i a_i (q_i - p_i)^2` (Xing et al. 2002, "Distance Metric Learning with
    Application to Clustering with Side-Information", section 2, the diagonal case).

    Args:
        queries: `[query, features]`.
        prototypes: `[n_way, features]`.
        precision: `[features]`, `a`, positive: one over the variance of each feature.

    Returns:
        `[query, n_way]`, of the dtype of the queries.

    Example:
        >>> queries, prototypes = tf.constant([[1.0, 2.0]]), tf.zeros([1, 2])
        >>> diagonal_mahalanobis(queries, prototypes, tf.constant([3.0, 0.5])).numpy()
        array([[5.]], dtype=float32)
    """
    differences = queries[:, tf.newaxis] - prototypes[tf.newaxis]
    return tf.reduce_sum(precision * tf.square(differences), axis=-1)


def _unit(x: tf.Tensor) -> tf.Tensor:
    """Vectors `[n, features]` of length 1; the zero vector stays."""
    # Not tf.math.l2_normalize: the reciprocal square root of float32 has other last bits for the
    # vectors that fill a register than for the rest, and so depends on how many there are. The
    # outer maximum keeps TensorFlow's graph optimizer from putting it back.
    squares = tf.reduce_sum(tf.square(x), axis=1, keepdims=True)
    return x / tf.maximum(tf.sqrt(tf.maximum(squares, 1e-12)), 1e-6)


DISTANCES = {"squared_euclidean": squared_euclidean, "cosine": cosine_distance}
