"""Least-recently-used access (LRUA): where a memory-augmented network writes."""

from __future__ import annotations

import tensorflow as tf


def least_used_slots(usage: tf.Tensor, n_slots: int) -> tf.Tensor:
    """The slots of least usage as one-hot rows, the least used one first; without a gradient.

    `w^lu` of Santoro et al. 2016, equation 6, has a 1 in each of the `n` least used slots. Here
    each of the `n` heads gets one of them, so that two heads do not write over each other.

    Args:
        usage: `w^u`, `[batch, slots]`.
        n_slots: `n`, how many of them.

    Returns:
        `[batch, n_slots, slots]` zeros and ones.

    Example:
        >>> least_used_slots(tf.constant([[0.3, 0.1, 0.2]]), 2).numpy().tolist()
        [[[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]
    """
    _, slots = tf.math.top_k(-tf.stop_gradient(usage), n_slots)
    return tf.one_hot(slots, usage.shape[-1], dtype=usage.dtype)


def lrua_write_weights(
    gates: tf.Tensor, read_weights: tf.Tensor, least_used: tf.Tensor
) -> tf.Tensor:
    """Weights by which every head writes: where it read last, or where nothing is needed.

    `w^w = g w^r_{t-1} + (1 - g) w^lu_{t-1}` (Santoro et al. 2016, equation 7).

    Args:
        gates: `g = sigmoid(alpha)`, `[batch, heads]`.
        read_weights: of the step before, `[batch, heads, slots]`.
        least_used: after the step before, `[batch, heads, slots]`.

    Returns:
        `[batch, heads, slots]`.

    Example:
        >>> read, least = tf.constant([[[1.0, 0.0]]]), tf.constant([[[0.0, 1.0]]])
        >>> lrua_write_weights(tf.constant([[0.25]]), read, least).numpy().tolist()
        [[[0.25, 0.75]]]
    """
    return least_used + gates[..., tf.newaxis] * (read_weights - least_used)


def decayed_usage(
    usage: tf.Tensor, read_weights: tf.Tensor, write_weights: tf.Tensor, decay: float
) -> tf.Tensor:
    """Usage of the slots after a step: it fades, and reading and writing add to it.

    `w^u_t = gamma w^u_{t-1} + w^r_t + w^w_t` (Santoro et al. 2016, equation 5), summed over the
    heads.

    Args:
        usage: before the step, `[batch, slots]`.
        read_weights: of the step, `[batch, heads, slots]`.
        write_weights: of the step, `[batch, heads, slots]`.
        decay: `gamma`, between 0 and 1.

    Returns:
        `[batch, slots]`.

    Example:
        >>> read, write = tf.constant([[[1.0, 0.0]]]), tf.constant([[[0.0, 1.0]]])
        >>> decayed_usage(tf.constant([[1.0, 2.0]]), read, write, 0.5).numpy().tolist()
        [[1.5, 2.0]]
    """
    return decay * usage + tf.reduce_sum(read_weights + write_weights, axis=1)
