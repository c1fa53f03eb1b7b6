"""Gradient reversal: the identity whose gradient has the opposite sign."""

from __future__ import annotations

import tensorflow as tf


@tf.custom_gradient
def reverse_gradient(x: tf.Tensor, strength: tf.Tensor):
    """The input, whose gradient is `-strength` times what comes back.

    Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks", equations 11 and 12.

    Args:
        x: any tensor.
        strength: a scalar.

    Returns:
        `x`.

    Example:
        >>> x = tf.constant(2.0)
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = 3.0 * reverse_gradient(x, tf.constant(0.5))
        >>> float(tape.gradient(y, x))
        -1.5
    """
    return tf.identity(x), lambda upstream: (-strength * upstream, None)


def reversal_strength(progress: tf.Tensor, *, steepness: float = 10.0) -> tf.Tensor:
    """The schedule of the reversal: `2 / (1 + exp(-steepness * progress)) - 1`.

    Args:
        progress: 0 ... 1, the part of the training that is done.
        steepness: 10 in Ganin et al. (2016, section 5.2.2).

    Returns:
        0 at the start, and nearly 1 at the end.

    Example:
        >>> float(reversal_strength(tf.constant(0.0)))
        0.0
    """
    return 2.0 / (1.0 + tf.exp(-steepness * progress)) - 1.0
