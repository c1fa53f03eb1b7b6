"""The LSTM that controls a memory."""

from __future__ import annotations

import tensorflow as tf


def controller_step(
    preactivations: tf.Tensor, carry: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Hidden state and carry of an LSTM after a step, and its gates.

    `c' = sigmoid(f) c + sigmoid(i) tanh(g)`, `h = sigmoid(o) tanh(c')` (Hochreiter and Schmidhuber
    1997; Gers et al. 2000), from `[i, f, o, g]` before their activations. `functional.lstm_step`
    has the order of Keras; here the three gates lie side by side, one sigmoid for all, because a
    trace shows them.

    Args:
        preactivations: `[batch, 4 units]`.
        carry: `c`, `[batch, units]`.

    Returns:
        `h` `[batch, units]`, `c'` `[batch, units]`, and the three gates i, f, o
        `[batch, 3 units]`.

    Example:
        >>> hidden, carry, _ = controller_step(tf.zeros([1, 4]), tf.ones([1, 1]))
        >>> carry.numpy().tolist()
        [[0.5]]
    """
    units = carry.shape[-1]
    gates = tf.sigmoid(preactivations[:, : 3 * units])
    candidate = tf.tanh(preactivations[:, 3 * units :])
    carry = gates[:, units : 2 * units] * carry + gates[:, :units] * candidate
    return gates[:, 2 * units :] * tf.tanh(carry), carry, gates


def controller_bias(units: int, forget: float) -> list[float]:
    """Start of an LSTM's biases: zero, but for the forget gates.

    Args:
        units: of the LSTM.
        forget: for the forget gates, which 1 opens (Gers et al. 2000).

    Returns:
        `4 units` numbers, in the order of `controller_step`.

    Example:
        >>> controller_bias(1, 1.0)
        [0.0, 1.0, 0.0, 0.0]
    """
    return [0.0] * units + [forget] * units + [0.0] * (2 * units)
