"""The update of Andrychowicz et al. 2016: an LSTM that turns gradients into steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional import lstm_step, preprocess_gradient
from tfmeta.inner_loop.coordinates import from_coordinates, n_coordinates, to_coordinates
from tfmeta.inner_loop.update_rules import UpdateRule, check_rate
from tfmeta.sizes import check_sizes


@keras.saving.register_keras_serializable("tfmeta")
class LSTMOptimizerRule(UpdateRule):
    """An LSTM that reads the gradient of a weight and emits its step, shared by all weights.

    `w <- w + scale * (W_out h_t + b_out)`, `h_t` of stacked LSTMs over the steps of each weight,
    the first of which reads the gradient as two numbers (Andrychowicz et al. 2016, "Learning to
    learn by gradient descent by gradient descent", section 2.1). Before it is trained its steps
    are zero. Its sizes do not depend on the network: what one learned serves any other.

    Args:
        units: of each LSTM.
        n_layers: how many LSTMs.
        scale: of its steps, positive.
        p: of `tfmeta.functional.preprocess_gradient`.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Raises:
        ValueError: for a number out of range.

    Example:
        >>> rule, w = LSTMOptimizerRule(), [tf.constant([1.0, 2.0])]
        >>> rule.create_weights([keras.Variable([1.0, 2.0])], inner_steps=1)
        >>> moved, _ = rule.update(0, w, w, rule.initial_state(w))
        >>> moved[0].numpy()
        array([1., 2.], dtype=float32)
    """

    def __init__(
        self,
        units: int = 20,
        *,
        n_layers: int = 2,
        scale: float = 0.1,
        p: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_sizes(units=units, n_layers=n_layers)
        self.units = units
        self.n_layers = n_layers
        self.scale = check_rate(scale, name="scale")
        self.p = check_rate(p, name="p")

    def create_weights(
        self, variables: Sequence[keras.Variable] = (), inner_steps: int = 1
    ) -> None:
        # A rule that was trained before keeps what it learned.
        if self.weights:
            return
        dtype, units = variables[0].dtype if variables else self.variable_dtype, self.units

        def add(name: str, shape: tuple[int, ...], initializer: str) -> keras.Variable:
            return self.add_weight(shape=shape, dtype=dtype, initializer=initializer, name=name)

        self.lstms = [
            {
                "kernel": add(f"kernel_{k}", (2 if k == 0 else units, 4 * units), "glorot_uniform"),
                "recurrent_kernel": add(f"recurrent_kernel_{k}", (units, 4 * units), "orthogonal"),
                "bias": add(f"bias_{k}", (4 * units,), "zeros"),
            }
            for k in range(self.n_layers)
        ]
        self.step_kernel = add("step_kernel", (units, 1), "zeros")
        self.step_bias = add("step_bias", (1,), "zeros")

    def initial_state(self, weights):
        zeros = tf.zeros([n_coordinates(weights), self.units], weights[0].dtype)
        return [(zeros, zeros) for _ in range(self.n_layers)]

    def update(self, step, weights, gradients, state):
        w, x = to_coordinates(weights), preprocess_gradient(to_coordinates(gradients), self.p)
        after = []
        for layer, (h, c) in zip(self.lstms, state, strict=True):
            tensors = {name: tf.convert_to_tensor(v) for name, v in layer.items()}
            x, c = lstm_step(x, h, c, **tensors)
            after.append((x, c))
        kernel, bias = (tf.convert_to_tensor(v) for v in (self.step_kernel, self.step_bias))
        steps = self.scale * (tf.matmul(x, kernel) + bias)[:, 0]
        return from_coordinates(w + steps, weights), after

    def get_config(self) -> dict[str, Any]:
        names = ("units", "n_layers", "scale", "p")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
