"""Accuracy on a stream by how often the class was seen before."""

from __future__ import annotations

import tensorflow as tf


def instance_numbers(y: tf.Tensor, n_way: int) -> tf.Tensor:
    """For every step of a stream, how often its class came before it.

    Args:
        y: `[streams, steps]` class numbers.
        n_way: number of classes.

    Returns:
        `[streams, steps]` int32: 0 for the first instance of a class.

    Example:
        >>> instance_numbers(tf.constant([[0, 1, 0, 0]]), 2).numpy()
        array([[0, 0, 1, 2]], dtype=int32)
    """
    is_class = tf.one_hot(y, n_way, dtype="int32")
    return tf.reduce_sum(tf.cumsum(is_class, axis=1, exclusive=True) * is_class, axis=2)


def accuracy_by_instance(y: tf.Tensor, outputs: tf.Tensor, n_instances: int) -> tf.Tensor:
    """Accuracy of each stream on the 1st, 2nd, ... instances of its classes.

    The measure of Santoro et al. 2016, table 1. The first instances can only be guessed: it is
    from the second on that a prediction can be known.

    Args:
        y: `[streams, steps]` class numbers.
        outputs: logits `[streams, steps, n_way]`.
        n_instances: how many.

    Returns:
        `[streams, n_instances]` of the outputs' dtype; NaN where no class comes so often.

    Example:
        >>> outputs = tf.one_hot([[1, 1, 0, 1]], 2)
        >>> accuracy_by_instance(tf.constant([[0, 1, 0, 1]]), outputs, 2).numpy()
        array([[0.5, 1. ]], dtype=float32)
    """
    numbers = instance_numbers(y, outputs.shape[-1])
    is_right = tf.equal(tf.argmax(outputs, -1, output_type=y.dtype), y)
    is_instance = tf.one_hot(numbers, n_instances, dtype=outputs.dtype)
    n_right = tf.reduce_sum(tf.cast(is_right, outputs.dtype)[..., tf.newaxis] * is_instance, 1)
    return n_right / tf.reduce_sum(is_instance, axis=1)
