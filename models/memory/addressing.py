"""Content-based addressing, and the reading and writing of a memory by weights over its slots."""

from __future__ import annotations

import tensorflow as tf

# Of a norm; an empty slot is like nothing, and its similarity has a gradient.
_EPSILON = 1e-6


def cosine_similarities(memory: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Cosine similarity of every key with every slot of a memory.

    `K(k, M(i)) = k . M(i) / (|k| |M(i)|)` (Santoro et al. 2016, equation 2; Graves et al. 2016,
    "Content-based addressing"). An empty slot has the similarity 0.

    Args:
        memory: `[batch, slots, width]`.
        keys: `[batch, heads, width]`.

    Returns:
        `[batch, heads, slots]`.

    Example:
        >>> memory = tf.constant([[[2.0, 0.0], [0.0, 3.0]]])
        >>> cosine_similarities(memory, tf.constant([[[1.0, 0.0]]])).numpy().round(3).tolist()
        [[[1.0, 0.0]]]
    """
    inverse_norms = tf.math.rsqrt(tf.reduce_sum(tf.square(memory), axis=-1) + _EPSILON**2)
    keys = keys * tf.math.rsqrt(tf.reduce_sum(tf.square(keys), -1, keepdims=True) + _EPSILON**2)
    products = tf.matmul(keys, memory, transpose_b=True)
    return products * inverse_norms[:, tf.newaxis]


def content_weights(memory: tf.Tensor, keys: tf.Tensor, strengths: tf.Tensor) -> tf.Tensor:
    """Weights over the slots of a memory, by how much each is like a key.

    `C(M, k, beta)(i) = softmax_i(beta K(k, M(i)))` (Graves et al. 2016, "Content-based
    addressing").

    Args:
        memory: `[batch, slots, width]`.
        keys: `[batch, heads, width]`.
        strengths: `beta`, `[batch, heads]`; 1 in Santoro et al. 2016.

    Returns:
        `[batch, heads, slots]`, whose sums over the slots are 1.

    Example:
        >>> memory, keys = tf.zeros([1, 4, 2]), tf.ones([1, 1, 2])
        >>> content_weights(memory, keys, tf.ones([1, 1])).numpy().tolist()
        [[[0.25, 0.25, 0.25, 0.25]]]
    """
    return tf.nn.softmax(cosine_similarities(memory, keys) * strengths[..., tf.newaxis])


def read_memory(memory: tf.Tensor, read_weights: tf.Tensor) -> tf.Tensor:
    """What each head reads: `r = sum_i w(i) M(i)` (Santoro et al. 2016, equation 4).

    Args:
        memory: `[batch, slots, width]`.
        read_weights: `[batch, heads, slots]`.

    Returns:
        `[batch, heads, width]`.

    Example:
        >>> memory = tf.constant([[[2.0, 0.0], [0.0, 4.0]]])
        >>> read_memory(memory, tf.constant([[[0.5, 0.5]]])).numpy().tolist()
        [[[1.0, 2.0]]]
    """
    return tf.matmul(read_weights, memory)


def write_memory(memory: tf.Tensor, write_weights: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
    """The memory after every head has added its vector: `M(i) + sum_h w_h(i) v_h`.

    (Santoro et al. 2016, equation 8, where the vectors are the keys.)

    Args:
        memory: `[batch, slots, width]`.
        write_weights: `[batch, heads, slots]`.
        vectors: `[batch, heads, width]`.

    Returns:
        `[batch, slots, width]`.

    Example:
        >>> weights = tf.constant([[[0.5, 0.0]]])
        >>> memory = write_memory(tf.zeros([1, 2, 1]), weights, tf.ones([1, 1, 1]))
        >>> memory.numpy().tolist()
        [[[0.5], [0.0]]]
    """
    return memory + tf.matmul(write_weights, vectors, transpose_a=True)


def erase_memory(memory: tf.Tensor, write_weights: tf.Tensor, erase: tf.Tensor) -> tf.Tensor:
    """The memory after one head has erased: `M(i) * (1 - w(i) e)` (Graves et al. 2016).

    Args:
        memory: `[batch, slots, width]`.
        write_weights: `[batch, slots]`.
        erase: `e`, between 0 and 1, `[batch, width]`.

    Returns:
        `[batch, slots, width]`.

    Example:
        >>> memory = tf.ones([1, 2, 1])
        >>> erase_memory(memory, tf.constant([[1.0, 0.5]]), tf.ones([1, 1])).numpy().tolist()
        [[[0.0], [0.5]]]
    """
    return memory * (1.0 - write_weights[:, :, tf.newaxis] * erase[:, tf.newaxis])
