"""Prototypes refined by examples without labels: soft k-means (Ren et al. 2018)."""

from __future__ import annotations

import tensorflow as tf

from tfmeta.functional.prototypes import merged_means


def soft_kmeans_step(
    prototypes: tf.Tensor, counts: tf.Tensor, features: tf.Tensor, assignments: tf.Tensor
) -> tf.Tensor:
    """Prototypes of the support and of softly assigned examples together.

    `c'_k = (n_k c_k + sum_j z_jk f_j) / (n_k + sum_j z_jk)` (Ren et al. 2018, "Meta-Learning for
    Semi-Supervised Few-Shot Classification", equation 5).

    Args:
        prototypes: `[n_way, d]`, means of the support.
        counts: `[n_way]`, support examples of each class.
        features: `[n, d]` of examples without labels.
        assignments: `[n, n_way]`, `z`; each row adds up to one.

    Returns:
        `[n_way, d]`.

    Example:
        >>> soft_kmeans_step(tf.constant([[0.0]]), tf.constant([1.0]),
        ...     tf.constant([[3.0], [6.0]]), tf.constant([[1.0], [1.0]])).numpy()
        array([[3.]], dtype=float32)
    """
    shares = tf.reduce_sum(assignments, axis=0)
    sums = tf.matmul(assignments, features, transpose_a=True)
    # A class to which nothing is assigned keeps its prototype.
    means = tf.math.divide_no_nan(sums, shares[:, tf.newaxis])
    return merged_means(prototypes, counts, means, shares)
