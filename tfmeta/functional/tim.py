"""Transductive information maximisation by gradient steps, TIM-GD (Boudiaf et al. 2020)."""

from __future__ import annotations

import tensorflow as tf

from tfmeta.functional.losses import cross_entropy
from tfmeta.functional.prototypes import class_means

# The paper's, section 4.1: temperature, weights of the cross-entropy and of the conditional
# entropy, and Adam's learning rate.
TEMPERATURE = 15.0
CROSS_ENTROPY_WEIGHT = 0.1
CONDITIONAL_ENTROPY_WEIGHT = 0.1
LEARNING_RATE = 1e-4
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


def tim_logits(features: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Logits of the classifier of TIM.

    `-tau / 2 |z - w_k|^2` with `z = f / |f|` (Boudiaf et al. 2020, "Transductive Information
    Maximization For Few-Shot Learning", equation 1).

    Args:
        features: `[n, d]`.
        weights: `[n_way, d]`.

    Returns:
        `[n, n_way]`.

    Example:
        >>> tim_logits(tf.constant([[2.0, 0.0]]), tf.constant([[1.0, 1.0]])).numpy()
        array([[-7.5]], dtype=float32)
    """
    z = tf.math.l2_normalize(features, axis=1)
    squares = tf.math.squared_difference(z[:, tf.newaxis], weights[tf.newaxis])
    return -0.5 * TEMPERATURE * tf.reduce_sum(squares, axis=-1)


def tim_loss(
    weights: tf.Tensor, support: tf.Tensor, labels: tf.Tensor, queries: tf.Tensor
) -> tf.Tensor:
    """The objective of TIM: confident, balanced predictions that fit the support.

    `0.1 CE(support) - H(Y) + 0.1 H(Y | X)` over the queries, `H(Y)` the entropy of their mean
    prediction and `H(Y | X)` their mean entropy (Boudiaf et al. 2020, equations 2 and 3).

    Args:
        weights: `[n_way, d]`.
        support: features `[support, d]`.
        labels: `[support]` integers.
        queries: features `[query, d]`.

    Returns:
        A scalar.

    Example:
        >>> w = tf.constant([[1.0, 0.0], [-1.0, 0.0]])
        >>> float(tim_loss(w, w, tf.constant([0, 1]), w)) < -0.69
        True
    """
    log_p = tf.nn.log_softmax(tim_logits(queries, weights))
    p = tf.exp(log_p)
    marginal = tf.reduce_mean(p, axis=0)
    entropy = -tf.reduce_sum(marginal * tf.math.log(marginal))
    conditional = -tf.reduce_mean(tf.reduce_sum(p * log_p, axis=1))
    on_support = tf.reduce_mean(cross_entropy(labels, tim_logits(support, weights)))
    return CROSS_ENTROPY_WEIGHT * on_support - entropy + CONDITIONAL_ENTROPY_WEIGHT * conditional


def tim_weights(
    support: tf.Tensor, labels: tf.Tensor, queries: tf.Tensor, *, steps: int = 1000
) -> tf.Tensor:
    """The classifier of TIM-GD: class means, then steps of Adam down `tim_loss`.

    The steps are not differentiated: TIM refines what was trained without it.

    Args:
        support: features `[support, d]`.
        labels: `[support]` integers, every class `0 ... n_way - 1` among them.
        queries: features `[query, d]`.
        steps: of Adam.

    Returns:
        `[n_way, d]`.

    Example:
        >>> eye = tf.eye(2)
        >>> tim_weights(eye, tf.constant([0, 1]), eye, steps=3).shape
        TensorShape([2, 2])
    """
    support, queries = tf.stop_gradient(support), tf.stop_gradient(queries)
    normalised = tf.math.l2_normalize(support, axis=1)
    n_way = tf.cast(tf.reduce_max(labels) + 1, "int32")
    start = class_means(normalised, labels, n_way)
    weights = _descend(start, support, labels, queries, tf.constant(steps))
    return tf.stop_gradient(weights)


# One step at a time, a thousand of them would take seconds outside of a graph.
@tf.function(autograph=False, reduce_retracing=True)
def _descend(
    start: tf.Tensor, support: tf.Tensor, labels: tf.Tensor, queries: tf.Tensor, steps: tf.Tensor
) -> tf.Tensor:
    """`steps` steps of Adam (Kingma and Ba 2015) down `tim_loss`."""

    def step(number: tf.Tensor, w: tf.Tensor, m: tf.Tensor, v: tf.Tensor) -> tuple:
        with tf.GradientTape() as tape:
            tape.watch(w)
            loss = tim_loss(w, support, labels, queries)
        gradient = tape.gradient(loss, w)
        m = _BETA_1 * m + (1.0 - _BETA_1) * gradient
        v = _BETA_2 * v + (1.0 - _BETA_2) * tf.square(gradient)
        t = tf.cast(number + 1, w.dtype)
        m_hat = m / (1.0 - tf.pow(tf.cast(_BETA_1, w.dtype), t))
        v_hat = v / (1.0 - tf.pow(tf.cast(_BETA_2, w.dtype), t))
        return number + 1, w - LEARNING_RATE * m_hat / (tf.sqrt(v_hat) + _EPSILON), m, v

    zeros = tf.zeros_like(start)
    variables = (tf.constant(0), start, zeros, zeros)
    return tf.while_loop(lambda number, *_: number < steps, step, variables)[1]
