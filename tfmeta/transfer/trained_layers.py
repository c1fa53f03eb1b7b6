"""Which layers train, said by the layers themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def layers_say_what_trains(model: keras.Model) -> Iterator[None]:
    """Scope in which a layer is trainable only if one of its weights is.

    What is frozen weight by weight, as by the stages of `FineTune`, is then seen in what Keras
    prints layer by layer.

    Args:
        model: a built model.

    Example:
        >>> layer = keras.layers.Dense(1)
        >>> model = keras.Sequential([keras.Input((1,)), layer])
        >>> for variable in layer.variables:
        ...     variable.trainable = False
        >>> with layers_say_what_trains(model):
        ...     layer.trainable
        False
        >>> layer.trainable
        True
    """
    frozen = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if layer.weights and layer.trainable and not any(v.trainable for v in layer.weights)
    ]
    # Not by `layer.trainable = ...`, which would set the weights' own marks.
    for layer in frozen:
        layer._trainable = False
    try:
        yield
    finally:
        for layer in frozen:
            layer._trainable = True
