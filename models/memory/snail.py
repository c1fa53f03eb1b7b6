"""SNAIL: temporal convolutions and causal attention over a stream (Mishra et al. 2018)."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional import scaled_dot_product_attention
from tfmeta.sizes import check_sizes


@keras.saving.register_keras_serializable("tfmeta")
class TemporalConvolutions(keras.Layer):
    """Dense blocks of causal convolutions whose dilations double until they span a length.

    Each block appends `tanh(conv(x)) * sigmoid(conv(x))` to its input; with two taps and the
    dilations 1, 2, 4, ... every step sees `length` steps back (Mishra et al. 2018, figure 2).

    Args:
        length: steps that the last block sees.
        filters: channels that each block appends.
        **kwargs: arguments of `keras.Layer`.

    Call arguments:
        stream: `[batch, steps, channels]`.

    Returns:
        `[batch, steps, channels + n_blocks * filters]`.

    Example:
        >>> TemporalConvolutions(8, 5)(tf.zeros([2, 6, 3])).shape
        TensorShape([2, 6, 18])
    """

    def __init__(self, length: int, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length = length
        self.filters = filters

    def build(self, input_shape: Any) -> None:
        n_channels = input_shape[-1]
        self.blocks = []
        for number in range(max(1, math.ceil(math.log2(self.length)))):
            # A causal convolution of two taps as a product, of each step and the one `2**number`
            # before it: a dilated convolution and its gradients take far longer on a CPU.
            block = keras.layers.Dense(
                2 * self.filters, dtype=self.dtype_policy, name=f"block_{number}"
            )
            block.build((None, None, 2 * n_channels))
            self.blocks.append(block)
            n_channels += self.filters

    def call(self, stream):
        for number, block in enumerate(self.blocks):
            earlier = _shifted(stream, 2**number)
            values, gates = tf.split(block(tf.concat([earlier, stream], axis=-1)), 2, axis=-1)
            stream = tf.concat([stream, tf.tanh(values) * tf.sigmoid(gates)], axis=-1)
        return stream

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        n_blocks = max(1, math.ceil(math.log2(self.length)))
        return (*input_shape[:-1], input_shape[-1] + n_blocks * self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "length": self.length, "filters": self.filters}


def _shifted(stream: tf.Tensor, n_steps: int) -> tf.Tensor:
    """The stream some steps earlier, with zeros before its start."""
    return tf.pad(stream, [[0, 0], [n_steps, 0], [0, 0]])[:, : tf.shape(stream)[1]]


@keras.saving.register_keras_serializable("tfmeta")
class CausalAttention(keras.Layer):
    """Appends to each step what it finds by attention among itself and the steps before.

    (Mishra et al. 2018, figure 2; Vaswani et al. 2017.)

    Args:
        key_size: length of queries and keys.
        value_size: channels that are appended.
        **kwargs: arguments of `keras.Layer`.

    Call arguments:
        stream: `[batch, steps, channels]`.

    Returns:
        `[batch, steps, channels + value_size]`.

    Example:
        >>> CausalAttention(4, 2)(tf.zeros([2, 6, 3])).shape
        TensorShape([2, 6, 5])
    """

    def __init__(self, key_size: int, value_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.key_size = key_size
        self.value_size = value_size

    def build(self, input_shape: Any) -> None:
        width = 2 * self.key_size + self.value_size
        self.projection = keras.layers.Dense(width, dtype=self.dtype_policy, name="projection")
        self.projection.build(input_shape)

    def call(self, stream):
        sizes = [self.key_size, self.key_size, self.value_size]
        queries, keys, values = tf.split(self.projection(stream), sizes, axis=-1)
        n_steps = tf.shape(stream)[1]
        is_past = tf.linalg.band_part(tf.ones([n_steps, n_steps], "bool"), -1, 0)
        found = scaled_dot_product_attention(queries, keys, values, is_past)
        return tf.concat([stream, found], axis=-1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], input_shape[-1] + self.value_size)

    def get_config(self) -> dict[str, Any]:
        sizes = {"key_size": self.key_size, "value_size": self.value_size}
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable("tfmeta")
class SNAIL(keras.Layer):
    """A causal network over a stream: attention and temporal convolutions in turn.

    Attention, then `n_blocks` times temporal convolutions and attention (Mishra et al. 2018, "A
    Simple Neural Attentive Meta-Learner"; two for Omniglot). What it says at a step depends on
    that step and those before. It has no state but the stream that it has read.

    Args:
        length: steps that the convolutions span, the length of a stream; longer ones are read
            too, by attention alone.
        filters: channels that each convolution appends.
        key_size: of the attention.
        value_size: channels that each attention appends.
        n_blocks: pairs of convolutions and attention.
        **kwargs: arguments of `keras.Layer`.

    Call arguments:
        stream: `[batch, steps, features]`.

    Returns:
        `[batch, steps, output_size]`.

    Raises:
        ValueError: for a size that is not positive.

    Example:
        >>> SNAIL(8, filters=4, key_size=4, value_size=2, n_blocks=1)(tf.zeros([2, 6, 3])).shape
        TensorShape([2, 6, 19])
    """

    def __init__(
        self,
        length: int,
        *,
        filters: int = 128,
        key_size: int = 64,
        value_size: int = 32,
        n_blocks: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        sizes = {"filters": filters, "key_size": key_size, "value_size": value_size}
        check_sizes(length=length, **sizes, n_blocks=n_blocks)
        self.length = length
        self.filters = filters
        self.key_size = key_size
        self.value_size = value_size
        self.n_blocks = n_blocks

    def build(self, input_shape: Any) -> None:
        shape, dtype = tuple(input_shape), self.dtype_policy
        self.parts = [self._attention()]
        for _ in range(self.n_blocks):
            self.parts += [TemporalConvolutions(self.length, self.filters, dtype=dtype)]
            self.parts += [self._attention()]
        for part in self.parts:
            part.build(shape)
            shape = part.compute_output_shape(shape)
        self.output_size = shape[-1]

    def call(self, stream):
        for part in self.parts:
            stream = part(stream)
        return stream

    def _attention(self) -> CausalAttention:
        return CausalAttention(self.key_size, self.value_size, dtype=self.dtype_policy)

    def get_config(self) -> dict[str, Any]:
        names = ("length", "filters", "key_size", "value_size", "n_blocks")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
