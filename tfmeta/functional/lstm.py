"""One step of a long short-term memory."""

from __future__ import annotations

import tensorflow as tf


def lstm_step(
    x: tf.Tensor,
    h: tf.Tensor,
    c: tf.Tensor,
    *,
    kernel: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The next output and cell state of an LSTM (Hochreiter and Schmidhuber 1997).

    With a forget gate (Gers et al. 2000), the gates in the order of Keras:

        [i, f, g, o] = x kernel + h recurrent_kernel + bias
        c' = sigmoid(f) c + sigmoid(i) tanh(g),   h' = sigmoid(o) tanh(c')

    All of it is plain operations: the second derivatives are exact, which cuDNN's cell has not.

    Args:
        x: `[n, inputs]`.
        h: `[n, units]`, the output before.
        c: `[n, units]`, the cell state before.
        kernel: `[inputs, 4 units]`.
        recurrent_kernel: `[units, 4 units]`.
        bias: `[4 units]`.

    Returns:
        `h'` and `c'`, each `[n, units]`.

    Example:
        >>> one, zeros = tf.ones([1, 1]), tf.zeros([1, 4])
        >>> h, c = lstm_step(one, one, one, kernel=zeros, recurrent_kernel=zeros, bias=zeros[0])
        >>> float(c[0, 0])
        0.5
    """
    z = tf.matmul(x, kernel) + tf.matmul(h, recurrent_kernel) + bias
    i, f, g, o = tf.split(z, 4, axis=-1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c
