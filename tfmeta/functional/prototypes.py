"""Class means of a support set."""

from __future__ import annotations

import tensorflow as tf


def class_means(features: tf.Tensor, labels: tf.Tensor, n_way: int | tf.Tensor) -> tf.Tensor:
    """Mean feature vector of each class.

    `c_k = (1 / |S_k|) sum_{(x, y) in S, y = k} f(x)` (Snell et al. 2017, equation 1), written as a
    product with the normalised one-hot labels, which every device and XLA compute alike.

    Args:
        features: `[support, features]`.
        labels: `[support]` integers in `0 ... n_way - 1`.
        n_way: the number of classes.

    Returns:
        `[n_way, features]`; a class without an example has the zero vector.

    Example:
        >>> class_means(tf.constant([[1.0], [3.0], [8.0]]), tf.constant([0, 0, 1]), 2).numpy()
        array([[2.],
               [8.]], dtype=float32)
    """
    one_hot = tf.one_hot(labels, n_way, dtype=features.dtype)
    counts = tf.reduce_sum(one_hot, axis=0)[:, tf.newaxis]
    return tf.math.divide_no_nan(tf.matmul(one_hot, features, transpose_a=True), counts)
