"""Draws of random layers that differ between episodes and passes, and can be made again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import keras
import tensorflow as tf


class _Draws(threading.local):
    """The seed of the episode that is being traced, and how many passes it has made."""

    seed: tf.Tensor | None = None
    n_passes: int | tf.Tensor = 0


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
    with draws_of_pass(seed, 0):
        yield


@contextlib.contextmanager
def draws_of_pass(seed: tf.Tensor | None, number: int | tf.Tensor) -> Iterator[None]:
    """Scope whose first pass is one of an episode by its number; the others follow.

    Args:
        seed: of the episode, or None for none.
        number: passes before it, an integer or a scalar tensor.

    Example:
        >>> with draws_of_pass(tf.constant(7), 2):
        ...     pass
    """
    before = _DRAWS.seed, _DRAWS.n_passes
    _DRAWS.seed, _DRAWS.n_passes = seed, number
    try:
        yield
    finally:
        _DRAWS.seed, _DRAWS.n_passes = before


def next_pass() -> tuple[tf.Tensor | None, int | tf.Tensor]:
    """Arguments of `draws_of_pass` for the next pass, which counts as made.

    Returns:
        The seed of the episode in scope, or None, and the number of passes before.

    Example:
        >>> with episode_draws(tf.constant(7)):
        ...     next_pass()[1], next_pass()[1]
        (0, 1)
    """
    _DRAWS.n_passes += 1
    return _DRAWS.seed, _DRAWS.n_passes - 1


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
    seed, number = next_pass()
    if seed is None:
        return []
    start = (tf.cast(number, "int64") + 1) * _PASS_STRIDE
    fold = tf.stack([tf.cast(seed, "int64"), start])
    return [
        (variable, variable.value + tf.cast(fold, variable.dtype))
        for variable in network.non_trainable_variables
        if variable.name == "seed_generator_state"
    ]
