"""What an LSTM that learns to update weights is given, and how its gates update them."""

from __future__ import annotations

import math

import tensorflow as tf


def preprocess_gradient(gradient: tf.Tensor, p: float = 10.0) -> tf.Tensor:
    """A number of any size as two numbers of about one: its magnitude and its sign.

        (log|g| / p, sign(g))   where |g| >= e^-p
        (-1, e^p g)             elsewhere

    Andrychowicz et al. 2016, "Learning to learn by gradient descent by gradient descent",
    appendix A; Ravi and Larochelle 2017 take it for gradients and losses.

    Args:
        gradient: `[...]`.
        p: positive; numbers below `e^-p` count as small.

    Returns:
        `[..., 2]`.

    Example:
        >>> preprocess_gradient(tf.constant([1.0, -np.exp(-5.0), 0.0])).numpy().round(3)
        array([[ 0. ,  1. ],
               [-0.5, -1. ],
               [-1. ,  0. ]], dtype=float32)
    """
    threshold = math.exp(-p)
    magnitude = tf.abs(gradient)
    is_large = magnitude >= threshold
    # The logarithm of zero would make the derivative of the branch not taken infinite.
    logarithm = tf.math.log(tf.where(is_large, magnitude, tf.ones_like(magnitude))) / p
    return tf.stack(
        [
            tf.where(is_large, logarithm, -tf.ones_like(gradient)),
            tf.where(is_large, tf.sign(gradient), gradient / threshold),
        ],
        axis=-1,
    )


def gated_update(
    cell: tf.Tensor, gradient: tf.Tensor, forget: tf.Tensor, gate: tf.Tensor
) -> tf.Tensor:
    """`c_t = f_t c_{t-1} - i_t g_t`: an LSTM's cell update, whose cell is a network's weights.

    With `f = 1` it is gradient descent at the rate `i` (Ravi and Larochelle 2017, "Optimization as
    a Model for Few-Shot Learning", equation 2, with the candidate `-g`).

    Args:
        cell: the weights, `[n]`.
        gradient: of the loss in them, `[n]`.
        forget: the forget gate, `[n]`.
        gate: the input gate, `[n]`.

    Returns:
        The new weights, `[n]`.

    Example:
        >>> float(gated_update(2.0, 1.0, forget=0.5, gate=0.1))
        0.9
    """
    return forget * cell - gate * gradient
