"""What a second-order meta-gradient asks of a network."""

from __future__ import annotations

from collections.abc import Collection

import keras
import tensorflow as tf

_MAX_POOLS = (
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
)


def check_second_derivatives(
    network: keras.Model, adapted: Collection[keras.Variable], *, has_gpu: bool | None = None
) -> None:
    """Refuses recurrent layers that cuDNN computes, where the inner loop's gradient is derived.

    Args:
        network: a built Keras model.
        adapted: the variables that the inner loop changes.
        has_gpu: whether there is a GPU, on which Keras takes cuDNN by itself; None to look.

    Raises:
        ValueError: with the names of the layers.

    Example:
        >>> network = keras.Sequential([keras.Input((3, 1)), keras.layers.LSTM(2, use_cudnn=False)])
        >>> check_second_derivatives(network, network.trainable_variables, has_gpu=True)
    """
    if has_gpu is None:
        has_gpu = bool(tf.config.list_physical_devices("GPU"))
    ids = {id(v) for v in adapted}
    cudnn, is_reached = [], False
    for layer in network.layers:
        # The gradient of a layer's weights goes back through all layers behind it.
        is_reached = is_reached or any(id(v) in ids for v in layer.variables)
        if is_reached:
            cudnn += [part.name for part in layer._flatten_layers() if _takes_cudnn(part, has_gpu)]
    if cudnn:
        raise ValueError(
            "A second-order meta-gradient needs second derivatives, which cuDNN's LSTM and GRU do "
            f"not have. Received: layers {cudnn}. Make them with `use_cudnn=False`, or use "
            "`order=1`."
        )


def _takes_cudnn(layer: keras.Layer, has_gpu: bool) -> bool:
    if not isinstance(layer, (keras.layers.LSTM, keras.layers.GRU)):
        return False
    return layer.use_cudnn is True or (layer.use_cudnn == "auto" and has_gpu and not layer.unroll)


def refuse_max_pooling(network: keras.Model) -> None:
    """Refuses max pooling where XLA would compile a second-order meta-gradient.

    Args:
        network: a built Keras model.

    Raises:
        ValueError: with the names of the layers.

    Example:
        >>> refuse_max_pooling(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    """
    pools = [layer.name for layer in network._flatten_layers() if isinstance(layer, _MAX_POOLS)]
    if pools:
        raise ValueError(
            "`jit_compile=True` cannot be used for a second-order gradient through max pooling, "
            f"which XLA differentiates wrongly. Received: layers {pools}. Leave `jit_compile` out, "
            'use `order=1`, `engine="vectorized"`, or a network that strides instead of pooling.'
        )
