"""How much the query loss after each inner step counts (MAML++)."""

from __future__ import annotations

import tensorflow as tf

# What the steps before the last keep, as in the authors' code: a share of their first weight.
_LEAST_SHARE = 0.03


def multi_step_weights(inner_steps: int, progress: tf.Tensor) -> tf.Tensor:
    """Weights of the query losses after the inner steps, with sum one.

    All alike at the start; those before the last then fall linearly to 3 % of that, and the last
    takes what they lose (Antoniou et al. 2019, "How to train your MAML", section 4, MSL).

    Args:
        inner_steps: how many losses there are.
        progress: a scalar, 0 at the start, 1 and above when the weights have reached their end.

    Returns:
        `[inner_steps]`.

    Example:
        >>> multi_step_weights(2, tf.constant(0.5)).numpy()
        array([0.25, 0.75], dtype=float32)
    """
    before = tf.maximum(1.0 - progress, _LEAST_SHARE) / inner_steps
    last = 1.0 - (inner_steps - 1) * before
    return tf.stack([before] * (inner_steps - 1) + [last])
