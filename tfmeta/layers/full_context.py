"""Full context embeddings: features of an example in the light of a whole support set."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfmeta")
class SupportContext(keras.Layer):
    """Embeds each support example in the context of the others, by a bidirectional LSTM.

    `g(x_i, S) = h_forward_i + h_backward_i + g'(x_i)` (Vinyals et al. 2016, appendix A.2). The
    paper leaves the order of the sequence open. Here the LSTM reads the examples in the order of
    their projection on a fixed direction, so that the result depends on the set alone, and
    neither on the order in which the support is given nor on how its classes are numbered.

    The cells do without cuDNN, which has no second derivative of them.

    Call arguments:
        features: `g'`, `[support, features]`.

    Returns:
        `[support, features]`, in the order of the input.

    Example:
        >>> SupportContext()(tf.constant([[1.0, 2.0], [0.0, 1.0]])).shape
        TensorShape([2, 2])
    """

    def build(self, input_shape: Any) -> None:
        units = input_shape[-1]
        options = {"return_sequences": True, "use_cudnn": False, "dtype": self.dtype_policy}
        self.forward = keras.layers.LSTM(units, **options)
        self.backward = keras.layers.LSTM(units, go_backwards=True, **options)
        for lstm in (self.forward, self.backward):
            lstm.build((1, None, units))

    def call(self, features):
        order = tf.argsort(tf.linalg.matvec(features, self._direction(features)), stable=True)
        sequence = tf.gather(features, order)[tf.newaxis]
        # A layer that goes backwards gives its outputs backwards too.
        hidden = self.forward(sequence) + tf.reverse(self.backward(sequence), [1])
        return features + tf.gather(hidden[0], tf.argsort(order))

    def _direction(self, features: tf.Tensor) -> tf.Tensor:
        # Any direction would do in which two different examples hardly ever fall together.
        return tf.cos(tf.range(features.shape[-1], dtype=features.dtype))


@keras.saving.register_keras_serializable("tfmeta")
class QueryContext(keras.Layer):
    """Embeds each query in the context of a support set, by an LSTM that attends to it.

    For k = 1 ... K, from `h_0 = f'(x)` and `c_0 = 0` (Vinyals et al. 2016, equations 3 to 6):

        r_{k-1} = sum_i softmax_i(h_{k-1} . g(x_i)) g(x_i)
        h_k, c_k = LSTM(f'(x), [h_{k-1}, r_{k-1}], c_{k-1}),  h_k = h_k + f'(x)

    A query's embedding does not depend on other queries.

    Args:
        processing_steps: K.
        **kwargs: arguments of `keras.Layer`.

    Call arguments:
        inputs: queries `f'` `[query, features]` and support `g` `[support, features]`.

    Returns:
        `[query, features]`.

    Example:
        >>> QueryContext(3)((tf.zeros([4, 2]), tf.ones([3, 2]))).shape
        TensorShape([4, 2])
    """

    def __init__(self, processing_steps: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.processing_steps = processing_steps

    def build(self, input_shape: Any) -> None:
        units = input_shape[0][-1]
        # The cell is linear in what it sees before its gates: the read vector may come in beside
        # the query as well as beside the state.
        self.cell = keras.layers.LSTMCell(units, dtype=self.dtype_policy)
        self.cell.build((None, 2 * units))

    def call(self, inputs):
        queries, support = inputs
        hidden, carry = queries, tf.zeros_like(queries)
        for _ in range(self.processing_steps):
            attention = tf.nn.softmax(tf.matmul(hidden, support, transpose_b=True))
            read = tf.concat([queries, tf.matmul(attention, support)], axis=1)
            hidden, (_, carry) = self.cell(read, [hidden, carry])
            hidden = hidden + queries
        return hidden

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "processing_steps": self.processing_steps}
