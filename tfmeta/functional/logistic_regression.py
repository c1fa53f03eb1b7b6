"""Multinomial logistic regression: a linear classifier of features, to its optimum."""

from __future__ import annotations

import tensorflow as tf


def logistic_regression(
    x: tf.Tensor, y: tf.Tensor, *, n_classes: int, l2: float = 0.01, steps: int = 300
) -> tuple[tf.Tensor, tf.Tensor]:
    """Kernel and bias that minimise the cross-entropy and a pull of the kernel to zero.

    `min_{W, b} mean_i CE(softmax(x_i W + b), y_i) + l2 / 2 |W|^2`, which is convex, by Nesterov's
    accelerated gradient with steps of one over the largest curvature. Same data, same result.

    Args:
        x: `[n, d]` floats; features of similar spread converge fastest, see `linear_probe`.
        y: `[n]` class numbers.
        n_classes: number of classes.
        l2: weight of the pull, positive.
        steps: gradient steps.

    Returns:
        Kernel `[d, n_classes]` and bias `[n_classes]`.

    Example:
        >>> x, y = tf.constant([[-1.0], [1.0]]), tf.constant([0, 1])
        >>> kernel, bias = logistic_regression(x, y, n_classes=2)
        >>> tf.argmax(x @ kernel + bias, axis=1).numpy()
        array([0, 1])
    """
    x = tf.convert_to_tensor(x)
    x1 = tf.concat([x, tf.ones_like(x[:, :1])], axis=1)
    n = tf.cast(tf.shape(x)[0], x.dtype)
    targets = tf.one_hot(y, n_classes, dtype=x.dtype)
    # The bias, in the last row, is not pulled.
    pull = l2 * tf.concat([tf.ones_like(x[0]), [0.0]], axis=0)[:, tf.newaxis]
    # Half is the largest curvature of the cross-entropy in the logits.
    curvature = 0.5 * _largest_eigenvalue(x1) / n + l2
    ratio = tf.sqrt(curvature / l2)
    momentum = (ratio - 1.0) / (ratio + 1.0)

    weights = _descend(x1, targets, pull, curvature, momentum, tf.constant(steps))
    return weights[:-1], weights[-1]


# Compiled, since step by step the calls from Python would take most of the time.
@tf.function(autograph=False, reduce_retracing=True)
def _descend(
    x1: tf.Tensor,
    targets: tf.Tensor,
    pull: tf.Tensor,
    curvature: tf.Tensor,
    momentum: tf.Tensor,
    steps: tf.Tensor,
) -> tf.Tensor:
    """Weights `[d + 1, n_classes]` after so many accelerated steps from zero."""
    n = tf.cast(tf.shape(x1)[0], x1.dtype)

    def step(i: tf.Tensor, weights: tf.Tensor, before: tf.Tensor) -> tuple[tf.Tensor, ...]:
        ahead = weights + momentum * (weights - before)
        error = (tf.nn.softmax(tf.matmul(x1, ahead)) - targets) / n
        gradient = tf.matmul(x1, error, transpose_a=True) + pull * ahead
        return i + 1, ahead - gradient / curvature, weights

    start = tf.zeros([tf.shape(x1)[1], tf.shape(targets)[1]], x1.dtype)
    return tf.while_loop(lambda i, *_: i < steps, step, (tf.constant(0), start, start))[1]


def linear_probe(
    features: tf.Tensor, y: tf.Tensor, *, n_classes: int, l2: float = 0.01, steps: int = 300
) -> tuple[tf.Tensor, tf.Tensor]:
    """A linear classifier of features: logistic regression on standardised ones, put back.

    The usual measure of a frozen backbone (Alain and Bengio 2017, "Understanding intermediate
    layers using linear classifier probes"), and a good start for the head of a fine-tuning (Kumar
    et al. 2022, "Fine-Tuning can Distort Pretrained Features").

    Args:
        features: `[n, d]`.
        y: `[n]` class numbers.
        n_classes: number of classes.
        l2: as in `logistic_regression`.
        steps: as in `logistic_regression`.

    Returns:
        Kernel `[d, n_classes]` and bias `[n_classes]` for the features as they are.

    Example:
        >>> features, y = tf.constant([[100.0, 7.0], [300.0, 7.0]]), tf.constant([0, 1])
        >>> kernel, bias = linear_probe(features, y, n_classes=2)
        >>> tf.argmax(features @ kernel + bias, axis=1).numpy()
        array([0, 1])
    """
    mean, scale = feature_scale(features)
    kernel, bias = logistic_regression(
        (features - mean) / scale, y, n_classes=n_classes, l2=l2, steps=steps
    )
    kernel = kernel / scale[:, tf.newaxis]
    return kernel, bias - tf.linalg.matvec(kernel, mean, transpose_a=True)


def feature_scale(features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and standard deviation `[d]` of features; one for a feature that does not vary.

    Args:
        features: `[n, d]`.

    Returns:
        What to subtract, and then to divide by.

    Example:
        >>> [v.numpy().tolist() for v in feature_scale(tf.constant([[1.0, 5.0], [3.0, 5.0]]))]
        [[2.0, 5.0], [1.0, 1.0]]
    """
    mean, variance = tf.nn.moments(tf.convert_to_tensor(features), axes=[0])
    varies = variance > 1e-12 * tf.maximum(tf.square(mean), tf.ones_like(mean) * 1e-12)
    return mean, tf.where(varies, tf.sqrt(variance), tf.ones_like(variance))


def _largest_eigenvalue(x: tf.Tensor) -> tf.Tensor:
    """The largest eigenvalue of `x'x`, from the smaller of the two products."""
    is_wide = tf.shape(x)[0] < tf.shape(x)[1]
    product = tf.cond(
        is_wide,
        lambda: tf.matmul(x, x, transpose_b=True),
        lambda: tf.matmul(x, x, transpose_a=True),
    )
    return tf.reduce_max(tf.linalg.eigvalsh(product))
