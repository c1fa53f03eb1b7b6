"""Dynamic memory allocation of the differentiable neural computer (Graves et al. 2016)."""

from __future__ import annotations

import tensorflow as tf

# Below it a usage counts as this much: products of exact zeros have no gradient.
_EPSILON = 1e-6


def retention(free_gates: tf.Tensor, read_weights: tf.Tensor) -> tf.Tensor:
    """How much of each slot is not freed: `psi = prod_h (1 - f_h w^r_{t-1,h})`.

    (Graves et al. 2016, "Dynamic memory allocation".)

    Args:
        free_gates: `f`, `[batch, heads]`.
        read_weights: of the step before, `[batch, heads, slots]`.

    Returns:
        `[batch, slots]`.

    Example:
        >>> retention(tf.constant([[0.5]]), tf.constant([[[1.0, 0.0]]])).numpy().tolist()
        [[0.5, 1.0]]
    """
    return tf.reduce_prod(1.0 - free_gates[..., tf.newaxis] * read_weights, axis=1)


def next_usage(usage: tf.Tensor, write_weights: tf.Tensor, retained: tf.Tensor) -> tf.Tensor:
    """Usage of the slots, between 0 and 1: `u_t = (u + w^w - u w^w) psi`, all from before.

    Args:
        usage: of the step before, `[batch, slots]`.
        write_weights: of the step before, `[batch, slots]`.
        retained: `psi`, `[batch, slots]`.

    Returns:
        `[batch, slots]`.

    Example:
        >>> usage, write = tf.constant([[0.5]]), tf.constant([[0.5]])
        >>> next_usage(usage, write, tf.constant([[1.0]])).numpy().tolist()
        [[0.75]]
    """
    return (usage + write_weights - usage * write_weights) * retained


def allocation_weights(usage: tf.Tensor) -> tf.Tensor:
    """Weights of slots to write new things to: most of it to the least used slot.

    With the slots sorted by rising usage `phi`: `a(phi_j) = (1 - u(phi_j)) prod_{i<j} u(phi_i)`
    (Graves et al. 2016, equation 1). As in the authors' code, the order has no gradient.

    Args:
        usage: `[batch, slots]`, between 0 and 1.

    Returns:
        `[batch, slots]`.

    Example:
        >>> allocation_weights(tf.constant([[1.0, 0.5, 0.25]])).numpy().round(3).tolist()
        [[0.0, 0.125, 0.75]]
    """
    usage = _EPSILON + (1.0 - _EPSILON) * usage
    order = tf.argsort(tf.stop_gradient(usage), axis=1, stable=True)
    in_order = tf.gather(usage, order, axis=1, batch_dims=1)
    weights = (1.0 - in_order) * tf.math.cumprod(in_order, axis=1, exclusive=True)
    return tf.gather(weights, tf.argsort(order, axis=1), axis=1, batch_dims=1)


def gated_write_weights(
    write_gate: tf.Tensor, allocation_gate: tf.Tensor, allocation: tf.Tensor, content: tf.Tensor
) -> tf.Tensor:
    """Where to write: new slots or slots like the key, or nowhere.

    `w^w = g_w (g_a a + (1 - g_a) c)` (Graves et al. 2016, "Write weighting").

    Args:
        write_gate: `g_w`, `[batch, 1]`.
        allocation_gate: `g_a`, `[batch, 1]`.
        allocation: `a`, `[batch, slots]`.
        content: `c`, `[batch, slots]`.

    Returns:
        `[batch, slots]`, whose sum is at most 1.

    Example:
        >>> gates = tf.constant([[0.5]])
        >>> new, like = tf.constant([[1.0, 0.0]]), tf.constant([[0.0, 1.0]])
        >>> gated_write_weights(gates, gates, new, like).numpy().tolist()
        [[0.25, 0.25]]
    """
    return write_gate * (content + allocation_gate * (allocation - content))
