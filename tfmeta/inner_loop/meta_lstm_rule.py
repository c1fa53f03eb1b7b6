"""The update of Ravi and Larochelle 2017: an LSTM whose cell state is the network's weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional import gated_update, lstm_step, preprocess_gradient
from tfmeta.inner_loop.coordinates import from_coordinates, n_coordinates, to_coordinates
from tfmeta.inner_loop.update_rules import UpdateRule, check_rate


@keras.saving.register_keras_serializable("tfmeta")
class MetaLSTMRule(UpdateRule):
    """Two LSTM layers, shared by all weights, of which the second one's cell is the weight.

    The first layer reads the gradient and the loss, each as two numbers (`preprocess_gradient`);
    its output `h`, the weight `w` and the last gates make the new ones (Ravi and Larochelle 2017,
    "Optimization as a Model for Few-Shot Learning", section 3.1):

        i = sigmoid(W_I [h, w, i_before] + b_I),  f = sigmoid(W_F [h, w, f_before] + b_F)
        w <- f w - i g

    At the start `i` is about `learning_rate` and `f` about `forget`: nearly gradient descent.

    Args:
        learning_rate: the input gate at the start, between 0 and 1.
        forget: the forget gate at the start, between 0 and 1; the paper's is about 0.993.
        units: of the first layer.
        p: of `preprocess_gradient`.
        n_context: further numbers that it reads for each weight, from the learner's inner loss.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Raises:
        ValueError: for a number out of range.

    Example:
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> rule = MetaLSTMRule(0.1, forget=0.999)
        >>> rule.create_weights(network.trainable_variables, inner_steps=1)
        >>> one = [tf.constant([[1.0]]), tf.constant([1.0])]
        >>> weights, _ = rule.update(0, one, one, rule.initial_state(one), loss=tf.constant(2.0))
        >>> round(float(weights[0][0, 0]), 1)
        0.9
    """

    reads_loss = True

    def __init__(
        self,
        learning_rate: float = 0.01,
        *,
        forget: float = 0.993,
        units: int = 20,
        p: float = 10.0,
        n_context: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.learning_rate = _check_gate("learning_rate", learning_rate)
        self.forget = _check_gate("forget", forget)
        self.p = check_rate(p, name="p")
        for name, value, least in (("units", units, 1), ("n_context", n_context, 0)):
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f"`{name}` must be an integer of at least {least}. Received: {name}={value!r}."
                )
        self.units = units
        self.n_context = n_context

    def create_weights(self, variables: Sequence[keras.Variable], inner_steps: int) -> None:
        dtype, units = variables[0].dtype, self.units

        def add(name: str, shape: tuple[int, ...], initializer: Any) -> keras.Variable:
            return self.add_weight(shape=shape, dtype=dtype, initializer=initializer, name=name)

        self.kernel = add("kernel", (4 + self.n_context, 4 * units), "glorot_uniform")
        self.recurrent_kernel = add("recurrent_kernel", (units, 4 * units), "orthogonal")
        self.bias = add("bias", (4 * units,), "zeros")
        # Small, so that at the start the gates hardly depend on anything: as in the paper's code.
        small = keras.initializers.RandomUniform(-0.01, 0.01)
        self.input_kernel = add("input_kernel", (units + 2, 1), small)
        self.input_bias = add("input_bias", (1,), _bias_of(self.learning_rate))
        self.forget_kernel = add("forget_kernel", (units + 2, 1), small)
        self.forget_bias = add("forget_bias", (1,), _bias_of(self.forget))

    def initial_state(self, weights):
        n, dtype = n_coordinates(weights), weights[0].dtype
        return tuple(tf.zeros([n, width], dtype) for width in (self.units, self.units, 1, 1))

    # A rule that reads the loss is called with it, see `UpdateRule.reads_loss`.
    def update(  # type: ignore[override]
        self, step, weights, gradients, state, *, loss, context=()
    ):
        w, g = to_coordinates(weights), to_coordinates(gradients)
        h, c, i, f = state
        h, c = lstm_step(
            self._inputs(g, tf.cast(loss, g.dtype), context),
            h,
            c,
            kernel=tf.convert_to_tensor(self.kernel),
            recurrent_kernel=tf.convert_to_tensor(self.recurrent_kernel),
            bias=tf.convert_to_tensor(self.bias),
        )
        seen = [h, w[:, tf.newaxis]]
        i = _gate(tf.concat([*seen, i], axis=1), self.input_kernel, self.input_bias)
        f = _gate(tf.concat([*seen, f], axis=1), self.forget_kernel, self.forget_bias)
        moved = gated_update(w, g, f[:, 0], i[:, 0])
        return from_coordinates(moved, weights), (h, c, i, f)

    def _inputs(self, g: tf.Tensor, loss: tf.Tensor, context: Sequence[tf.Tensor]) -> tf.Tensor:
        """What the first layer reads of every weight, `[n, 4 + n_context]`."""
        n = g.shape[0] or tf.shape(g)[0]
        of_loss = tf.broadcast_to(preprocess_gradient(loss, self.p), [n, 2])
        return tf.concat([preprocess_gradient(g, self.p), of_loss, *context], axis=1)

    def get_config(self) -> dict[str, Any]:
        names = ("learning_rate", "forget", "units", "p", "n_context")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _gate(x: tf.Tensor, kernel: keras.Variable, bias: keras.Variable) -> tf.Tensor:
    return tf.sigmoid(tf.matmul(x, tf.convert_to_tensor(kernel)) + tf.convert_to_tensor(bias))


def _bias_of(gate: float) -> keras.initializers.Initializer:
    return keras.initializers.Constant(math.log(gate / (1.0 - gate)))


def _check_gate(name: str, value: float) -> float:
    if not 0.0 < value < 1.0:
        raise ValueError(
            f"`{name}` is a gate at the start, which must lie between 0 and 1. "
            f"Received: {name}={value}."
        )
    return float(value)
