"""How far apart two sets of features are: what domain adaptation makes small."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

# Of the median distance, as in the authors' code of DAN.
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


def maximum_mean_discrepancy(
    source: tf.Tensor, target: tf.Tensor, *, bandwidths: Sequence[float] = BANDWIDTHS
) -> tf.Tensor:
    """Squared maximum mean discrepancy under a sum of Gaussian kernels.

    `mean k(s, s') + mean k(t, t') - 2 mean k(s, t)`, the biased estimate of Gretton et al. (2012),
    with the kernels `exp(-|x - y|^2 / (b m))` of DAN (Long et al. 2015, "Learning Transferable
    Features with Deep Adaptation Networks"), m the mean squared distance of the joint set, which
    is taken as a constant.

    Args:
        source: `[n, d]`.
        target: `[m, d]`.
        bandwidths: b, the kernels' widths.

    Returns:
        A scalar, not negative.

    Example:
        >>> x = tf.constant([[0.0], [1.0]])
        >>> float(maximum_mean_discrepancy(x, x))
        0.0
    """
    both = tf.concat([source, target], axis=0)
    norms = tf.reduce_sum(tf.square(both), axis=1)
    products = tf.matmul(both, both, transpose_b=True)
    distances = tf.maximum(norms[:, tf.newaxis] + norms - 2.0 * products, 0.0)
    mean = tf.stop_gradient(tf.reduce_mean(distances))
    mean = tf.maximum(mean, tf.constant(1e-12, mean.dtype))
    kernel = tf.add_n([tf.exp(-distances / (b * mean)) for b in bandwidths])
    n = tf.shape(source)[0]
    within = tf.reduce_mean(kernel[:n, :n]) + tf.reduce_mean(kernel[n:, n:])
    return tf.maximum(within - 2.0 * tf.reduce_mean(kernel[:n, n:]), 0.0)


def covariance_distance(source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Squared distance of two covariance matrices: `|C_s - C_t|_F^2 / (4 d^2)`.

    The loss of Deep CORAL (Sun and Saenko 2016, equations 1 to 3).

    Args:
        source: `[n, d]`, n at least 2.
        target: `[m, d]`, m at least 2.

    Returns:
        A scalar.

    Example:
        >>> float(covariance_distance(tf.constant([[0.0], [2.0]]), tf.constant([[0.0], [4.0]])))
        9.0
    """
    difference = covariance(source) - covariance(target)
    width = tf.cast(tf.shape(source)[1], difference.dtype)
    return tf.reduce_sum(tf.square(difference)) / (4.0 * width**2)


def covariance(x: tf.Tensor) -> tf.Tensor:
    """Covariance matrix `[d, d]` of examples `[n, d]`, divided by `n - 1`.

    Args:
        x: `[n, d]`.

    Returns:
        `[d, d]`.

    Example:
        >>> covariance(tf.constant([[0.0], [2.0]])).numpy()
        array([[2.]], dtype=float32)
    """
    centred = x - tf.reduce_mean(x, axis=0)
    n = tf.cast(tf.shape(x)[0], x.dtype)
    return tf.matmul(centred, centred, transpose_a=True) / (n - 1.0)
