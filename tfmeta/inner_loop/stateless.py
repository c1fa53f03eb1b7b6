"""Calling a Keras network with given values in place of its variables."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence

import keras
import tensorflow as tf


class _Draws(threading.local):
    """The seed of the episode that is being traced, and how many passes it has made."""

    seed: tf.Tensor | None = None
    n_passes = 0


_DRAWS = _Draws()
# Keras adds one for every call of a random layer; a pass starts far beyond that.
_PASS_STRIDE = 1_000_003


@contextlib.contextmanager
def episode_draws(seed: tf.Tensor) -> Iterator[None]:
    """Scope in which the random layers of stateless calls draw anew for every pass.

    A stateless call drops the advance of Keras' seed generators, so that without this scope
    dropout would draw one mask for every task and every step.

    Args:
        seed: a scalar integer tensor that differs between episodes.

    Example:
        >>> with episode_draws(tf.constant(7)):
        ...     pass
    """
    before = _DRAWS.seed, _DRAWS.n_passes
    _DRAWS.seed, _DRAWS.n_passes = seed, 0
    try:
        yield
    finally:
        _DRAWS.seed, _DRAWS.n_passes = before


def folded_seeds(network: keras.Model) -> list[tuple[keras.Variable, tf.Tensor]]:
    """The seed states of a network's random layers, for one pass of the episode in scope.

    Args:
        network: a built Keras model.

    Returns:
        Pairs of a seed variable and its value; none outside of `episode_draws`.

    Example:
        >>> folded_seeds(keras.Sequential([keras.Input((1,)), keras.layers.Dropout(0.5)]))
        []
    """
    if _DRAWS.seed is None:
        return []
    _DRAWS.n_passes += 1
    fold = tf.stack(
        [tf.cast(_DRAWS.seed, "int64"), tf.constant(_DRAWS.n_passes * _PASS_STRIDE, "int64")]
    )
    return [
        (variable, variable.value + tf.cast(fold, variable.dtype))
        for variable in network.non_trainable_variables
        if variable.name == "seed_generator_state"
    ]


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
