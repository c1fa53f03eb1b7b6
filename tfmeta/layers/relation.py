"""The relation module: a learned comparison of a class and a query."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tfmeta.layers.normalization import GroupNormalization

_GROUPS = 8


@keras.saving.register_keras_serializable("tfmeta")
class RelationModule(keras.Layer):
    """Scores how well every query fits every class, from their features side by side.

    `r(c, q) = g([f(c), f(q)])` (Sung et al. 2018, "Learning to Compare", equation 1). For feature
    maps `g` is two blocks of 3x3 convolution, normalisation, ReLU and 2x2 max pooling (while the
    map is at least 2x2), a dense layer of `hidden` ReLUs and a linear unit, as in the paper; for
    feature vectors the blocks are one dense layer. The paper's sigmoid is left to the loss.

    Two things differ in the making. The first layer is linear, `W [c, q] = W_c c + W_q q`, so it
    is computed for each class and each query and not for each pair, which is most of the work. And
    normalisation is over the groups of one pair (Wu and He 2018) instead of over the batch: a
    score then depends on its class and its query alone, in training as in prediction.

    Args:
        filters: channels of the convolutions, or units of the dense layer for vectors.
        hidden: units of the last hidden layer.
        **kwargs: arguments of `keras.Layer`.

    Call arguments:
        inputs: features of the classes `[n_way, ...]` and of the queries `[query, ...]`, both maps
            `[height, width, channels]` or both vectors `[features]`.

    Returns:
        Logits `[query, n_way]`.

    Example:
        >>> RelationModule()((tf.zeros([5, 3, 3, 64]), tf.zeros([2, 3, 3, 64]))).shape
        TensorShape([2, 5])
    """

    def __init__(self, filters: int = 64, hidden: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.hidden = filters, hidden

    def build(self, input_shape: Any) -> None:
        shape = tuple(input_shape[0])
        self.class_part = self._first_layer(shape)
        self.query_part = self._first_layer(shape, use_bias=False)
        for part in (self.class_part, self.query_part):
            part.build(shape)
        inputs = keras.Input((*shape[1:-1], self.filters), dtype=self.compute_dtype)
        layers = self._blocks(shape[1:-1]) if len(shape) == 4 else self._normalized()
        dense = [self._dense(self.hidden, activation="relu"), self._dense(1)]
        self.pair_part = keras.Sequential([inputs, *layers, *dense], name="pair_part")

    def call(self, inputs):
        classes, queries = inputs
        by_class, by_query = self.class_part(classes), self.query_part(queries)
        pairs = by_query[:, tf.newaxis] + by_class
        shape = tf.shape(pairs)
        scores = self.pair_part(tf.reshape(pairs, [-1, *pairs.shape[2:]]))
        return tf.reshape(scores, shape[:2])

    def _first_layer(self, shape: tuple[int, ...], **options: Any) -> keras.Layer:
        if len(shape) == 4:
            return self._convolution(**options)
        return self._dense(self.filters, **options)

    def _blocks(self, size: tuple[int, ...]) -> list[keras.Layer]:
        """All that follows the first convolution, for maps of `size`, down to a vector."""
        layers = [*self._normalized(), *self._pooling(size)]
        layers += [self._convolution(), *self._normalized()]
        layers += self._pooling(tuple(side // 2 for side in size))
        return [*layers, keras.layers.Flatten(dtype=self.dtype_policy)]

    def _normalized(self) -> list[keras.Layer]:
        groups = math.gcd(self.filters, _GROUPS)
        return [
            GroupNormalization(groups, dtype=self.dtype_policy),
            keras.layers.ReLU(dtype=self.dtype_policy),
        ]

    def _pooling(self, size: tuple[int, ...]) -> list[keras.Layer]:
        return [keras.layers.MaxPooling2D(2, dtype=self.dtype_policy)] if min(size) >= 2 else []

    def _convolution(self, **options: Any) -> keras.Layer:
        options = {"padding": "same", "dtype": self.dtype_policy, **options}
        return keras.layers.Conv2D(self.filters, 3, **options)

    def _dense(self, units: int, **options: Any) -> keras.Layer:
        return keras.layers.Dense(units, dtype=self.dtype_policy, **options)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "hidden": self.hidden}
