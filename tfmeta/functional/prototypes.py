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


def merged_means(
    means: tf.Tensor, counts: tf.Tensor, more_means: tf.Tensor, more_counts: tf.Tensor
) -> tf.Tensor:
    """The class means of two sets of examples taken together.

    `(n c + m c') / (n + m)` for means `c`, `c'` of `n` and `m` examples.

    Args:
        means: `[n_way, features]`.
        counts: `[n_way]`, examples behind each mean.
        more_means: `[n_way, features]`.
        more_counts: `[n_way]`.

    Returns:
        `[n_way, features]`.

    Example:
        >>> merged_means(*map(tf.constant, ([[1.0]], [3.0], [[5.0]], [1.0]))).numpy()
        array([[2.]], dtype=float32)
    """
    counts, more_counts = counts[:, tf.newaxis], more_counts[:, tf.newaxis]
    return (counts * means + more_counts * more_means) / (counts + more_counts)


def prototype_classifier(prototypes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The linear classifier that prefers the nearest prototype.

    `-|f - c_k|^2 = 2 c_k f - |c_k|^2 - |f|^2`, whose last term no class cares about (Snell et al.
    2017, equation 8; Triantafillou et al. 2020, section 3).

    Args:
        prototypes: `[n_way, features]`.

    Returns:
        Kernel `[features, n_way]` and bias `[n_way]`.

    Example:
        >>> kernel, bias = prototype_classifier(tf.constant([[1.0, 2.0]]))
        >>> kernel.numpy().ravel(), bias.numpy()
        (array([2., 4.], dtype=float32), array([-5.], dtype=float32))
    """
    kernel = 2.0 * tf.transpose(prototypes)
    return kernel, -tf.reduce_sum(tf.square(prototypes), axis=1)
