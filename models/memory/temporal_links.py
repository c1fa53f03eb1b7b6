"""Temporal links of the differentiable neural computer: the order in which slots were written."""

from __future__ import annotations

import tensorflow as tf


def next_links(links: tf.Tensor, precedence: tf.Tensor, write_weights: tf.Tensor) -> tf.Tensor:
    """`L(i, j)`: how much slot i was written right after slot j.

    `L(i, j) = (1 - w(i) - w(j)) L_{t-1}(i, j) + w(i) p_{t-1}(j)` and `L(i, i) = 0` (Graves et al.
    2016, "Temporal memory linkage").

    Args:
        links: `L_{t-1}`, `[batch, slots, slots]`.
        precedence: `p_{t-1}`, `[batch, slots]`.
        write_weights: `w`, `[batch, slots]`.

    Returns:
        `[batch, slots, slots]`.

    Example:
        >>> links, before = tf.zeros([1, 2, 2]), tf.constant([[1.0, 0.0]])
        >>> next_links(links, before, tf.constant([[0.0, 1.0]])).numpy().tolist()
        [[[0.0, 0.0], [1.0, 0.0]]]
    """
    row, column = write_weights[:, :, tf.newaxis], write_weights[:, tf.newaxis]
    links = (1.0 - row - column) * links + row * precedence[:, tf.newaxis]
    return tf.linalg.set_diag(links, tf.zeros_like(precedence))


def next_precedence(precedence: tf.Tensor, write_weights: tf.Tensor) -> tf.Tensor:
    """How much each slot was the last one written: `p_t = (1 - sum_i w(i)) p_{t-1} + w`.

    Args:
        precedence: `p_{t-1}`, `[batch, slots]`.
        write_weights: `w`, `[batch, slots]`.

    Returns:
        `[batch, slots]`.

    Example:
        >>> next_precedence(tf.constant([[1.0, 0.0]]), tf.constant([[0.0, 0.5]])).numpy().tolist()
        [[0.5, 0.5]]
    """
    return (1.0 - tf.reduce_sum(write_weights, 1, keepdims=True)) * precedence + write_weights


def directional_weights(links: tf.Tensor, read_weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where each head gets when it goes on, or back, from where it read: `L w^r` and `L^T w^r`.

    Args:
        links: `[batch, slots, slots]`.
        read_weights: of the step before, `[batch, heads, slots]`.

    Returns:
        Forward and backward weights, each `[batch, heads, slots]`.

    Example:
        >>> links = tf.constant([[[0.0, 0.0], [1.0, 0.0]]])
        >>> forward, backward = directional_weights(links, tf.constant([[[1.0, 0.0]]]))
        >>> forward.numpy().tolist(), backward.numpy().tolist()
        ([[[0.0, 1.0]]], [[[0.0, 0.0]]])
    """
    return tf.matmul(read_weights, links, transpose_b=True), tf.matmul(read_weights, links)


def mixed_read_weights(
    modes: tf.Tensor, backward: tf.Tensor, content: tf.Tensor, forward: tf.Tensor
) -> tf.Tensor:
    """Where to read: back, by content, or on: `w^r = pi_1 b + pi_2 c + pi_3 f`.

    (Graves et al. 2016, "Read weighting".)

    Args:
        modes: `pi`, whose last axis sums to 1, `[batch, heads, 3]`.
        backward: `b`, `[batch, heads, slots]`.
        content: `c`, `[batch, heads, slots]`.
        forward: `f`, `[batch, heads, slots]`.

    Returns:
        `[batch, heads, slots]`.

    Example:
        >>> one, zero = tf.ones([1, 1, 1]), tf.zeros([1, 1, 1])
        >>> float(mixed_read_weights(tf.constant([[[0.2, 0.5, 0.3]]]), zero, one, zero)[0, 0, 0])
        0.5
    """
    return modes[..., :1] * backward + modes[..., 1:2] * content + modes[..., 2:] * forward
