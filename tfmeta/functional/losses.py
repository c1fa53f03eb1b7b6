"""Losses and scores of one episode."""

from __future__ import annotations

import tensorflow as tf


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy of logits against class numbers.

    `-(1 / n) sum_i log softmax(logits_i)[labels_i]`.

    Args:
        labels: `[n]` integers.
        logits: `[n, n_way]`.

    Returns:
        A scalar, in nats.

    Example:
        >>> round(float(cross_entropy(tf.constant([0]), tf.constant([[0.0, 0.0]]))), 4)
        0.6931
    """
    # Not tf.nn.sparse_softmax_cross_entropy_with_logits: written out, every derivative of it is
    # made of plain operations, on all devices and under XLA.
    log_probabilities = tf.nn.log_softmax(logits)
    one_hot = tf.one_hot(labels, tf.shape(logits)[-1], dtype=logits.dtype)
    return -tf.reduce_mean(tf.reduce_sum(one_hot * log_probabilities, axis=-1))


def mean_squared_error(targets: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Mean squared difference of values and targets.

    Args:
        targets: `[n, d]`.
        values: `[n, d]`.

    Returns:
        A scalar, in squared units of the targets.

    Example:
        >>> float(mean_squared_error(tf.constant([[1.0]]), tf.constant([[3.0]])))
        4.0
    """
    return tf.reduce_mean(tf.math.squared_difference(values, targets))


def is_classification(y: tf.Tensor, outputs: tf.Tensor) -> bool:
    """Whether `y` holds class numbers `[..., n]` for logits `[..., n, n_way]`."""
    return len(y.shape) == len(outputs.shape) - 1


def episode_loss(y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Cross-entropy for class numbers, mean squared error for regression targets.

    Args:
        y: class numbers `[n]`, or targets `[n, d]`.
        outputs: logits `[n, n_way]`, or values `[n, d]`.

    Returns:
        A scalar.

    Example:
        >>> float(episode_loss(tf.constant([[1.0]]), tf.constant([[3.0]])))
        4.0
    """
    if is_classification(y, outputs):
        return cross_entropy(y, outputs)
    return mean_squared_error(tf.cast(y, outputs.dtype), outputs)


def accuracy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Share of queries whose largest logit is the right one.

    Args:
        labels: `[n]` integers.
        logits: `[n, n_way]`.

    Returns:
        A scalar between 0 and 1, of the dtype of the logits.

    Example:
        >>> float(accuracy(tf.constant([1, 0]), tf.constant([[0.0, 2.0], [0.0, 2.0]])))
        0.5
    """
    hits = tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels)
    return tf.reduce_mean(tf.cast(hits, logits.dtype))
