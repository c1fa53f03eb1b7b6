"""Examples in the dtype that a network takes."""

from __future__ import annotations

import keras
import tensorflow as tf


def network_input(network: keras.Model, x: tf.Tensor) -> tf.Tensor:
    """Examples in the dtype that a network takes; uint8 pictures scaled to 0 ... 1.

    Args:
        network: a built Keras model with one input.
        x: `[n, ...]`.

    Returns:
        `[n, ...]`.

    Raises:
        ValueError: for strings where the network does not take strings, or the reverse.

    Example:
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> network_input(network, tf.constant([[255]], tf.uint8)).numpy()
        array([[1.]], dtype=float32)
    """
    x = tf.convert_to_tensor(x)
    wanted = tf.as_dtype(network.inputs[0].dtype if network.inputs else network.variable_dtype)
    if x.dtype == wanted:
        return x
    if tf.string in (x.dtype, wanted):
        raise ValueError(
            f"Examples must be of a dtype that the network takes ({wanted.name}). "
            f"Received: {x.dtype.name}. Encode them first, or put the encoding in the network."
        )
    scale = 1.0 / 255.0 if x.dtype == tf.uint8 and wanted.is_floating else None
    x = tf.cast(x, wanted)
    return x if scale is None else x * tf.cast(scale, wanted)
