"""Self-attention among the elements of a set."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional import scaled_dot_product_attention
from tfmeta.layers.normalization import LayerNormalization


@keras.saving.register_keras_serializable("tfmeta")
class SetAttention(keras.Layer):
    """Adapts every element of a set to the others: one layer of a transformer without positions.

    `T(x) = LayerNorm(x + dropout(W_o softmax(Q K^T / sqrt(d)) V))` with `Q, K, V = W_q x, W_k x,
    W_v x`, each head as wide as an element (Ye et al. 2020, section 4.2, and the authors' code).
    Permuting the elements permutes the outputs.

    Args:
        heads: number of attention heads.
        dropout: share of the attention's output that training drops.
        seed: of the dropout. It is a number and not drawn, because files keep no states of seeds,
            and a loaded layer shall drop what this one would have dropped.
        **kwargs: arguments of `keras.Layer`.

    Call arguments:
        inputs: elements `[n, features]`, and integers `[n]`: an element attends to those of its
            own number only.

    Returns:
        `[n, features]`.

    Example:
        >>> SetAttention()((tf.ones([3, 4]), tf.constant([0, 0, 1]))).shape
        TensorShape([3, 4])
    """

    def __init__(
        self, heads: int = 1, dropout: float = 0.5, *, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.heads, self.dropout, self.seed = heads, dropout, seed

    def build(self, input_shape: Any) -> None:
        width = input_shape[0][-1]
        self.queries, self.keys, self.values = (
            self._dense(self.heads * width, width, use_bias=False) for _ in range(3)
        )
        self.out = self._dense(width, self.heads * width)
        self.drop = keras.layers.Dropout(self.dropout, seed=self.seed, dtype=self.dtype_policy)
        self.normalization = LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy)
        self.normalization.build((None, width))

    def call(self, inputs, training=False):
        elements, groups = inputs
        allowed = tf.equal(groups[:, tf.newaxis], groups)
        queries, keys, values = (
            self._split(dense(elements)) for dense in (self.queries, self.keys, self.values)
        )
        read = scaled_dot_product_attention(queries, keys, values, allowed)
        joined = tf.reshape(tf.transpose(read, [1, 0, 2]), [-1, self.heads * elements.shape[-1]])
        update = self.drop(self.out(joined), training=training)
        return self.normalization(elements + update)

    def _split(self, x: tf.Tensor) -> tf.Tensor:
        """`[n, heads * width]` as `[heads, n, width]`."""
        by_head = tf.reshape(x, [-1, self.heads, x.shape[-1] // self.heads])
        return tf.transpose(by_head, [1, 0, 2])

    def _dense(self, units: int, width: int, **options: Any) -> keras.Layer:
        layer = keras.layers.Dense(
            units, kernel_initializer="glorot_normal", dtype=self.dtype_policy, **options
        )
        layer.build((None, width))
        return layer

    def get_config(self) -> dict[str, Any]:
        names = ("heads", "dropout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
