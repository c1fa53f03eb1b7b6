"""All weights of a network as one vector of coordinates, and back."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def to_coordinates(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """The numbers of all tensors in one vector.

    Args:
        tensors: of any shapes.

    Returns:
        `[n]`.

    Example:
        >>> to_coordinates([tf.constant([[1.0, 2.0]]), tf.constant(3.0)]).numpy()
        array([1., 2., 3.], dtype=float32)
    """
    return tf.concat([tf.reshape(x, [-1]) for x in tensors], axis=0)


def from_coordinates(vector: tf.Tensor, like: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The tensors whose numbers are in a vector.

    Args:
        vector: `[n]`.
        like: tensors of the shapes that are wanted.

    Returns:
        One tensor for each in `like`.

    Example:
        >>> [x.shape.as_list() for x in from_coordinates(tf.range(3), [tf.ones([1, 2]), 1.0])]
        [[1, 2], []]
    """
    like = [tf.convert_to_tensor(x) for x in like]
    parts = tf.split(vector, [_size(x) for x in like])
    return [
        tf.ensure_shape(tf.reshape(part, tf.shape(x)), x.shape)
        for part, x in zip(parts, like, strict=True)
    ]


def n_coordinates(tensors: Sequence[tf.Tensor]) -> int | tf.Tensor:
    """How many numbers some tensors have together.

    Args:
        tensors: of any shapes.

    Returns:
        An integer, or a scalar tensor where a size is not known.

    Example:
        >>> n_coordinates([tf.ones([2, 3]), tf.ones([4])])
        10
    """
    return sum(_size(tf.convert_to_tensor(x)) for x in tensors)


def _size(x: tf.Tensor) -> int | tf.Tensor:
    return x.shape.num_elements() if x.shape.is_fully_defined() else tf.size(x)
