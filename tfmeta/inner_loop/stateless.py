"""Calling a Keras network with given values in place of its variables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import keras
import tensorflow as tf

from tfmeta.inner_loop.draws import folded_seeds


def stateless_call(
    network: keras.Model,
    x: tf.Tensor,
    *,
    values: Iterable[tuple[keras.Variable, tf.Tensor]] = (),
    training: bool = False,
    read: Sequence[keras.Variable] = (),
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """The outputs of a network under given values, and what the call would have assigned.

    Nothing is assigned to any variable. Derivatives flow into `values`, into the variables that
    are not among them, and through the values that are read.

    Args:
        network: a built Keras model.
        x: a batch of its inputs.
        values: pairs of a variable and the value that stands in for it.
        training: as in `network(x, training=...)`.
        read: variables whose values after the call are returned (normalisation statistics).

    Returns:
        The outputs, and one tensor for each variable in `read`.

    Example:
        >>> dense = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        >>> outputs, _ = stateless_call(
        ...     dense, tf.ones([1, 1]), values=[(dense.weights[0], tf.constant([[3.0]]))])
        >>> float(outputs[0, 0])
        3.0
    """
    scope = keras.StatelessScope(state_mapping=[*values, *folded_seeds(network)])
    with scope:
        outputs = network(x, training=training)
    return outputs, tuple(_value_after(scope, variable) for variable in read)


def _value_after(scope: keras.StatelessScope, variable: keras.Variable) -> tf.Tensor:
    value = scope.get_current_value(variable)
    return tf.convert_to_tensor(variable.value) if value is None else value
