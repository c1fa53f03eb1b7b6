"""Ridge regression in closed form."""

from __future__ import annotations

import tensorflow as tf

from tfmeta.errors import require


def ridge_regression(
    features: tf.Tensor, targets: tf.Tensor, regularization: float | tf.Tensor
) -> tf.Tensor:
    """The weights `W` that minimise `|X W - Y|^2 + lambda |W|^2`, exactly and differentiably.

    `W = (X^T X + lambda I)^-1 X^T Y`, and by Woodbury's identity `W = X^T (X X^T + lambda I)^-1 Y`,
    of which the smaller system is solved (Bertinetto, Henriques, Torr and Vedaldi 2019,
    "Meta-learning with differentiable closed-form solvers", section 3).

    Args:
        features: `X [..., n, features]`.
        targets: `Y [..., n, d]`.
        regularization: `lambda`, a scalar that is not negative; the gradient reaches it.

    Returns:
        `W [..., features, d]`; not finite where the features are not.

    Raises:
        ValueError: for a system that is singular in the features' precision, as that of identical
            examples is without regularisation.

    Example:
        >>> x, y = tf.constant([[1.0], [1.0]]), tf.constant([[2.0], [4.0]])
        >>> ridge_regression(x, y, 1.0).numpy().round(3)
        array([[2.]], dtype=float32)
    """
    features = tf.convert_to_tensor(features)
    # Not a cast, which would round a Python number to float32 first.
    regularization = tf.convert_to_tensor(regularization, features.dtype)
    n, width = features.shape[-2:]
    if n is not None and width is not None:
        solve = _by_examples if n < width else _by_features
        return solve(features, targets, regularization)
    n, width = tf.unstack(tf.shape(features)[-2:])
    return tf.cond(
        n < width,
        lambda: _by_examples(features, targets, regularization),
        lambda: _by_features(features, targets, regularization),
    )


def _by_examples(x: tf.Tensor, y: tf.Tensor, regularization: tf.Tensor) -> tf.Tensor:
    gram = tf.matmul(x, x, transpose_b=True)
    return tf.matmul(x, _solve(gram, y, regularization), transpose_a=True)


def _by_features(x: tf.Tensor, y: tf.Tensor, regularization: tf.Tensor) -> tf.Tensor:
    moments = tf.matmul(x, x, transpose_a=True)
    return _solve(moments, tf.matmul(x, y, transpose_a=True), regularization)


def _solve(gram: tf.Tensor, right: tf.Tensor, regularization: tf.Tensor) -> tf.Tensor:
    """`(G + lambda I)^-1 R`, once the pivots say that this is a number."""
    diagonal = tf.linalg.diag_part(gram) + regularization
    root = tf.linalg.cholesky(tf.linalg.set_diag(gram, diagonal))
    # A factor of a singular matrix is not always NaN: rounding may leave a tiny pivot, and a
    # solution of nothing but rounding errors.
    pivots = tf.square(tf.linalg.diag_part(root))
    size = tf.cast(tf.shape(gram)[-1], gram.dtype)
    smallest = size * _precision(gram.dtype) * tf.reduce_max(diagonal, axis=-1)
    regular = tf.reduce_all(pivots > smallest[..., tf.newaxis])
    regular |= ~tf.reduce_all(tf.math.is_finite(diagonal))
    message = (
        "Ridge regression needs a system that is not singular. Raise `regularization`, or look for "
        "features that are all alike. Received: regularization ="
    )
    return tf.linalg.cholesky_solve(require(regular, message, [regularization], root), right)


def _precision(dtype: tf.DType) -> float:
    """The distance from 1 to the next number."""
    return {tf.float64: 2.0**-52, tf.float32: 2.0**-23}[dtype]
