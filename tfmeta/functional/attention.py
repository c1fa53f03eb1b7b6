"""Attention: over a support set, and among the elements of a set."""

from __future__ import annotations

import tensorflow as tf


def attention_log_probabilities(
    similarities: tf.Tensor, labels: tf.Tensor, n_way: int | tf.Tensor
) -> tf.Tensor:
    """Log probability of every class under attention over the support.

    `log p(y = k | x) = log sum_{i: y_i = k} a(x, x_i)`, `a(x, x_i) = softmax_i c(x, x_i)` (Vinyals
    et al. 2016, equation 1). It is computed as a difference of two log-sum-exps and not as the
    logarithm of a sum, so that it stays finite, with a gradient, for the least likely class.

    Args:
        similarities: `c`, `[query, support]`.
        labels: `[support]` integers in `0 ... n_way - 1`.
        n_way: the number of classes.

    Returns:
        `[query, n_way]`, whose exponentials sum to one over the classes; about -1e9 for a class
        without an example.

    Example:
        >>> similarities = tf.math.log([[1.0, 1.0, 2.0]])
        >>> tf.exp(attention_log_probabilities(similarities, tf.constant([0, 1, 1]), 2)).numpy()
        array([[0.25, 0.75]], dtype=float32)
    """
    log_attention = tf.nn.log_softmax(similarities, axis=1)
    is_other = 1.0 - tf.one_hot(labels, n_way, dtype=similarities.dtype)
    return tf.reduce_logsumexp(log_attention[:, :, tf.newaxis] - 1e9 * is_other, axis=1)


def scaled_dot_product_attention(
    queries: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, mask: tf.Tensor | None = None
) -> tf.Tensor:
    """Means of the values, weighted by how well the keys fit the queries.

    `softmax(Q K^T / sqrt(d)) V` (Vaswani et al. 2017, equation 1).

    Args:
        queries: `[..., n, d]`.
        keys: `[..., m, d]`.
        values: `[..., m, v]`.
        mask: `[n, m]` bool, True where a query may look at a key; None for everywhere.

    Returns:
        `[..., n, v]`.

    Example:
        >>> zeros, values = tf.zeros([2, 3]), tf.constant([[1.0], [3.0]])
        >>> scaled_dot_product_attention(zeros, zeros, values).numpy()
        array([[2.],
               [2.]], dtype=float32)
    """
    scale = tf.cast(queries.shape[-1], queries.dtype) ** -0.5
    scores = scale * tf.matmul(queries, keys, transpose_b=True)
    if mask is not None:
        scores += tf.where(mask, tf.zeros([], scores.dtype), tf.cast(-1e9, scores.dtype))
    return tf.matmul(tf.nn.softmax(scores), values)
