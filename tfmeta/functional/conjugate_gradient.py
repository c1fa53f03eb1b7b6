"""The conjugate gradient method on lists of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

Vector = list[tf.Tensor]


def conjugate_gradient(
    product: Callable[[Vector], Sequence[tf.Tensor]], b: Sequence[tf.Tensor], *, steps: int
) -> Vector:
    """An approximate solution `x` of `A x = b`, for a symmetric positive definite `A`.

    Hestenes and Stiefel (1952), from `x = 0`; exact after as many steps as there are unknowns, up
    to rounding. A residual of zero stays: further steps change nothing.

    Args:
        product: `A v` of a vector `v`.
        b: the right-hand side, a list of tensors of any shapes.
        steps: how many steps.

    Returns:
        A list of tensors of the shapes of `b`.

    Example:
        >>> diagonal = tf.constant([1.0, 4.0])
        >>> conjugate_gradient(lambda v: [diagonal * v[0]], [tf.ones([2])], steps=2)[0].numpy()
        array([1.  , 0.25], dtype=float32)
    """
    x: Vector = [tf.zeros_like(t) for t in b]
    residual = direction = list(b)
    square = _dot(residual, residual)
    for _ in range(steps):
        image = list(product(direction))
        rate = tf.math.divide_no_nan(square, _dot(direction, image))
        x = _sum(x, rate, direction)
        residual = _sum(residual, -rate, image)
        before, square = square, _dot(residual, residual)
        direction = _sum(residual, tf.math.divide_no_nan(square, before), direction)
    return x


def _dot(a: Sequence[tf.Tensor], b: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([tf.reduce_sum(s * t) for s, t in zip(a, b, strict=True)])


def _sum(a: Sequence[tf.Tensor], rate: tf.Tensor, b: Sequence[tf.Tensor]) -> Vector:
    return [s + rate * t for s, t in zip(a, b, strict=True)]
