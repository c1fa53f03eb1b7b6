"""Normalisation by the batch's own moments, with its first and second derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfmeta.functional.moments import exact_moments

# The kernel's smallest epsilon; below it cuDNN refuses.
_SMALLEST_EPSILON = 1.001e-5


def has_batch_norm_kernel(x: tf.Tensor, epsilon: float) -> bool:
    """Whether `fused_batch_norm` takes `x`: float32 pictures.

    Args:
        x: the input of a batch normalisation layer, channels last.
        epsilon: the layer's epsilon.

    Returns:
        A bool.

    Example:
        >>> has_batch_norm_kernel(tf.zeros([2, 4, 4, 3]), epsilon=0.001)
        True
    """
    return x.dtype == tf.float32 and x.shape.rank == 4 and epsilon >= _SMALLEST_EPSILON


def batch_norm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Batch normalisation whose two first derivatives are closed formulas.

    `y = (x - mean) / sqrt(variance + epsilon) * gamma + beta` (Ioffe and Szegedy 2015). What
    automatic differentiation makes of the formula is as exact, but twice as many operations.

    Args:
        x: `[..., channels]`.
        gamma: `[channels]`.
        beta: `[channels]`.
        epsilon: positive.

    Returns:
        `y`, of the shape of `x`.

    Example:
        >>> batch_norm(tf.constant([[1.0], [3.0]]), tf.ones([1]), tf.zeros([1]), 0.0).numpy()
        array([[-1.],
               [ 1.]], dtype=float32)
    """

    @tf.custom_gradient
    def forward(x, gamma, beta):
        z, _ = _standardized(x, epsilon)
        return z * gamma + beta, lambda dy: backward(dy, x, gamma)

    @tf.custom_gradient
    def backward(dy, x, gamma):
        gradients = batch_norm_gradients(dy, x, gamma, epsilon)
        return gradients, _second_gradient(dy, x, gamma, epsilon)

    return forward(x, gamma, beta)


def _second_gradient(dy, x, gamma, epsilon):
    return lambda *upstream: batch_norm_second_gradients(upstream, dy, x, gamma, epsilon)


def fused_batch_norm(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Batch normalisation of pictures by one kernel, three times as fast as by its formula.

    `y = (x - mean) / sqrt(variance + epsilon) * gamma + beta` (Ioffe and Szegedy 2015). TensorFlow
    differentiates its kernel once; here `y` has derivatives of every order, exact ones: the kernel
    for the first, `batch_norm_second_gradients` for the second.

    Args:
        x: `[batch, height, width, channels]`, float32.
        gamma: `[channels]`.
        beta: `[channels]`.
        epsilon: at least 1.001e-5.

    Returns:
        `y` of the shape of `x`, and the batch's mean and variance `[channels]`, as constants.

    Example:
        >>> x = tf.constant([1.0, 3.0], shape=[2, 1, 1, 1])
        >>> y, mean, variance = fused_batch_norm(x, tf.ones([1]), tf.zeros([1]), 0.001)
        >>> float(mean[0]), float(variance[0])
        (2.0, 1.0)
    """

    @tf.custom_gradient
    def forward(x, gamma, beta):
        y, mean, variance, *reserved = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
        )
        # The kernel gives the unbiased variance.
        variance *= 1.0 - 1.0 / _values_of_a_channel(x)

        def gradient(dy, *_):
            return backward(dy, x, gamma)

        @tf.custom_gradient
        def backward(dy, x, gamma):
            gradients = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=dy,
                x=x,
                scale=gamma,
                reserve_space_1=reserved[0],
                reserve_space_2=reserved[1],
                reserve_space_3=reserved[2],
                epsilon=epsilon,
                is_training=True,
            )[:3]
            return gradients, _second_gradient(dy, x, gamma, epsilon)

        return (y, tf.stop_gradient(mean), tf.stop_gradient(variance)), gradient

    return forward(x, gamma, beta)


def batch_norm_gradients(
    dy: tf.Tensor, x: tf.Tensor, gamma: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Gradients of batch normalisation in `x`, `gamma` and `beta`, as a differentiable formula.

    With `z = (x - mean) r`, `r = 1 / sqrt(variance + epsilon)`: `dgamma = sum(dy z)`,
    `dbeta = sum(dy)` and `dx = gamma r (dy - mean(dy) - z mean(dy z))`.

    Args:
        dy: gradient in the output, of the shape of `x`.
        x: `[..., channels]`.
        gamma: `[channels]`.
        epsilon: as in the layer.

    Returns:
        Gradients in `x`, `gamma` and `beta`.

    Example:
        >>> x = tf.constant([1.0, 3.0], shape=[2, 1, 1, 1])
        >>> _, dgamma, dbeta = batch_norm_gradients(tf.ones_like(x), x, tf.ones([1]), 0.001)
        >>> float(dgamma[0]), float(dbeta[0])
        (0.0, 2.0)
    """
    z, r = _standardized(x, epsilon)
    mean_dy, mean_dy_z = _channel_means(dy, dy * z)
    n, scale = _values_of_a_channel(x), gamma * r
    return scale * dy - (z * (scale * mean_dy_z) + scale * mean_dy), n * mean_dy_z, n * mean_dy


def batch_norm_second_gradients(
    upstream: Sequence[tf.Tensor], dy: tf.Tensor, x: tf.Tensor, gamma: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Gradients of `batch_norm_gradients` in `dy`, `x` and `gamma`.

    Let `v`, `a`, `b` be the gradients in `dx`, `dgamma`, `dbeta`, and `A = mean(v dy) -
    mean(v) mean(dy) - mean(v z) mean(dy z)`, a number a channel. Then `S = n (gamma r A +
    a mean(dy z) + b mean(dy))` is the scalar that is differentiated, first in `dy` and `gamma`,
    then in `x` by way of `r` and `z`: the gradient in `z` is
    `a dy - gamma r (mean(dy z) v + mean(v z) dy)`, and goes through the normalisation as `dy` does.

    Args:
        upstream: gradients in the three results of `batch_norm_gradients`.
        dy: its argument.
        x: its argument.
        gamma: its argument.
        epsilon: its argument.

    Returns:
        Gradients in `dy`, `x` and `gamma`.

    Example:
        >>> x = tf.constant([[1.0], [3.0]])
        >>> upstream = [tf.zeros([2, 1]), tf.zeros([1]), tf.ones([1])]
        >>> ddy, _, _ = batch_norm_second_gradients(upstream, x, x, tf.ones([1]), 0.001)
        >>> ddy.numpy().ravel().tolist()
        [1.0, 1.0]
    """
    v, a, b = upstream
    z, r = _standardized(x, epsilon)
    mean_dy, mean_dy_z = _channel_means(dy, dy * z)
    mean_v, mean_v_z, mean_v_dy = _channel_means(v, v * z, v * dy)
    scale = gamma * r
    covariance = mean_v_dy - mean_v * mean_dy - mean_v_z * mean_dy_z
    slope = a - scale * mean_v_z
    of_dy = scale * v + (z * slope + (b - scale * mean_v))
    # One factor a channel for each of dy, v, z and 1: four passes over the large tensors.
    of_z = r * (slope * mean_dy_z + scale * (covariance - mean_v_z * mean_dy_z))
    of_one = r * (slope * mean_dy - scale * mean_v * mean_dy_z)
    of_x = (dy * (r * slope) - v * (r * scale * mean_dy_z)) - (z * of_z + of_one)
    return of_dy, of_x, _values_of_a_channel(x) * r * covariance


def _standardized(x: tf.Tensor, epsilon: float) -> tuple[tf.Tensor, tf.Tensor]:
    mean, variance = exact_moments(x, _axes(x))
    r = tf.math.rsqrt(variance + epsilon)
    return (x - mean) * r, r


def _channel_means(*tensors: tf.Tensor) -> list[tf.Tensor]:
    return [tf.reduce_mean(t, _axes(t)) for t in tensors]


def _values_of_a_channel(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.size(x) // tf.shape(x)[-1], x.dtype)


def _axes(x: tf.Tensor) -> list[int]:
    return list(range(x.shape.rank - 1))
