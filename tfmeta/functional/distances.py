"""Distances between queries and prototypes."""

from __future__ import annotations

import tensorflow as tf


def squared_euclidean(queries: tf.Tensor, prototypes: tf.Tensor) -> tf.Tensor:
    """Squared Euclidean distance of every query to every prototype.

    `d(q, p) = sum_i (q_i - p_i)^2 = |q|^2 - 2 q.p + |p|^2`, the Bregman divergence for which the
    mean is the best prototype (Snell et al. 2017, section 2.3).

    Args:
        queries: `[query, features]`.
        prototypes: `[n_way, features]`.

    Returns:
        `[query, n_way]`, of the dtype of the queries.

    Example:
        >>> squared_euclidean(tf.constant([[1.0, 2.0]]), tf.constant([[1.0, 0.0]])).numpy()
        array([[4.]], dtype=float32)
    """
    query_norms = tf.reduce_sum(tf.square(queries), axis=1, keepdims=True)
    prototype_norms = tf.reduce_sum(tf.square(prototypes), axis=1)
    return query_norms - 2.0 * tf.matmul(queries, prototypes, transpose_b=True) + prototype_norms


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
    queries = tf.math.l2_normalize(queries, axis=1)
    prototypes = tf.math.l2_normalize(prototypes, axis=1)
    return 1.0 - tf.matmul(queries, prototypes, transpose_b=True)


DISTANCES = {"squared_euclidean": squared_euclidean, "cosine": cosine_distance}
