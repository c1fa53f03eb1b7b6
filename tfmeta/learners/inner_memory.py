"""The states of a network's LSTM, as an update rule of its weights reads them."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf


class InnerMemory:
    """Hidden and cell state of an LSTM inside of a network, for each weight that is adapted.

    A weight of the LSTM belongs to the unit whose gate it feeds, a weight of a `Dense` layer that
    reads the LSTM to the unit that it reads; others to none.

    Args:
        network: a functional Keras model.
        layer: name of its `keras.layers.LSTM`, made with `return_state=True`.
        variables: those that the inner loop adapts.

    Raises:
        ValueError: for another layer.

    Example:
        >>> inputs = keras.Input((3, 1))
        >>> x, *_ = keras.layers.LSTM(2, return_state=True, name="memory")(inputs)
        >>> network = keras.Model(inputs, keras.layers.Dense(1, name="head")(x))
        >>> memory = InnerMemory(network, "memory", network.get_layer("head").trainable_variables)
        >>> memory.of_coordinates(tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 4.0]])).numpy()
        array([[1., 3.],
               [2., 4.],
               [0., 0.]], dtype=float32)
    """

    def __init__(
        self, network: keras.Model, layer: str, variables: Sequence[keras.Variable]
    ) -> None:
        lstm = _lstm_of(network, layer)
        output, h, c = lstm.output
        # The same layers, with the states among the outputs.
        self.network = keras.Model(network.inputs, [network.outputs[0], h, c])
        readers = [
            part.kernel
            for part in network.layers
            if isinstance(part, keras.layers.Dense) and part.input is output
        ]
        units = [_units(v, lstm, readers) for v in variables]
        self._unit_of_coordinate = np.concatenate([np.ravel(u) for u in units]).astype("int32")

    def of_coordinates(self, h: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
        """What each weight's unit remembers, in the mean over the examples.

        Args:
            h: hidden states after the last step, `[..., n, units]`.
            c: cell states after the last step, `[..., n, units]`.

        Returns:
            `[..., coordinates, 2]`; zeros for weights that belong to no unit.
        """
        of_units = tf.stack([tf.reduce_mean(x, axis=-2) for x in (h, c)], axis=-1)
        of_none = tf.zeros_like(of_units[..., :1, :])
        of_all = tf.concat([of_units, of_none], axis=-2)
        return tf.gather(of_all, self._unit_of_coordinate, axis=-2)


def _lstm_of(network: keras.Model, name: str) -> keras.layers.LSTM:
    layers = {layer.name: layer for layer in network.layers}
    lstm = layers.get(name)
    if not isinstance(lstm, keras.layers.LSTM) or not lstm.return_state:
        raise ValueError(
            "`memory` must name a `keras.layers.LSTM` of the network that was made with "
            f"`return_state=True`. Received: memory={name!r}, in a network of {list(layers)}."
        )
    return lstm


def _units(
    variable: keras.Variable, lstm: keras.layers.LSTM, readers: Sequence[keras.Variable]
) -> np.ndarray:
    """The unit of each number of a variable; `lstm.units` for none."""
    units = np.arange(lstm.units)
    if any(variable is v for v in lstm.trainable_variables):
        # The four gates lie side by side on the last axis.
        return np.broadcast_to(np.tile(units, 4), variable.shape)
    if any(variable is v for v in readers):
        return np.broadcast_to(units[:, np.newaxis], variable.shape)
    return np.full(variable.shape, lstm.units)
