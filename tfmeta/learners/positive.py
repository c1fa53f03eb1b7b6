"""Learned numbers that stay positive."""

from __future__ import annotations

import math

import keras


def add_logarithm(layer: keras.Layer, name: str, value: float) -> keras.Variable:
    """A new trainable scalar of a layer, `log(value)`, whose exponential is never below zero.

    Args:
        layer: which owns the weight.
        name: of the number; the weight is `log_<name>`.
        value: of the number at the start, positive.

    Returns:
        A variable of shape `[]`.

    Example:
        >>> float(add_logarithm(keras.layers.Layer(), "scale", 1.0))
        0.0
    """
    initializer = keras.initializers.Constant(math.log(value))
    return layer.add_weight(shape=(), initializer=initializer, name=f"log_{name}")
