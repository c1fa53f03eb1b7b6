"""A learned update rule as an ordinary Keras optimizer."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tfmeta.inner_loop.lstm_optimizer_rule import LSTMOptimizerRule


@keras.saving.register_keras_serializable("tfmeta")
class LSTMOptimizer(keras.optimizers.Optimizer):
    """A trained `LSTMOptimizerRule` as the optimizer of any Keras model's `fit`.

    It does not learn any more. The learning rate multiplies the rule's steps; a schedule can turn
    them down beyond the number of steps that the rule was trained for.

    Args:
        rule: the rule, with its weights.
        learning_rate: factor of its steps, or a schedule.
        **kwargs: other arguments of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: for another rule.

    Example:
        >>> rule = LSTMOptimizerRule()
        >>> rule.create_weights()
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile(LSTMOptimizer(rule), loss="mse")
        >>> history = model.fit(np.ones((4, 1)), np.ones((4, 1)), verbose=0)
    """

    def __init__(
        self,
        rule: LSTMOptimizerRule,
        learning_rate: Any = 1.0,
        name: str = "lstm_optimizer",
        **kwargs: Any,
    ) -> None:
        if not isinstance(rule, LSTMOptimizerRule):
            raise ValueError(
                "`rule` must be a `tfmeta.inner_loop.LSTMOptimizerRule`. Received: "
                f"rule={rule!r}. The other rules are Keras optimizers already."
            )
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        rule.create_weights()
        self.rule = rule

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        # With the states, so that a saved model has the rule's weights too.
        for weight in self.rule.weights:
            self._track_variable(weight)
        self._states = [
            [
                tuple(self._state(variable, f"{kind}_{layer}") for kind in ("output", "cell"))
                for layer in range(self.rule.n_layers)
            ]
            for variable in variables
        ]

    def _state(self, variable: keras.Variable, name: str) -> keras.Variable:
        shape = (math.prod(variable.shape), self.rule.units)
        name = f"{variable.name}_{name}"
        return self.add_variable(shape, "zeros", dtype=variable.dtype, name=name)

    def update_step(self, gradient, variable, learning_rate):
        state = self._states[self._get_variable_index(variable)]
        before = tf.convert_to_tensor(variable)
        values = [tuple(tf.convert_to_tensor(v) for v in pair) for pair in state]
        gradient = tf.convert_to_tensor(gradient)
        (after,), values = self.rule.update(0, [before], [gradient], values)
        for pair, new in zip(state, values, strict=True):
            for old_part, new_part in zip(pair, new, strict=True):
                self.assign(old_part, new_part)
        self.assign_add(variable, (after - before) * tf.cast(learning_rate, before.dtype))

    def get_config(self) -> dict[str, Any]:
        rule = keras.saving.serialize_keras_object(self.rule)
        return {**super().get_config(), "rule": rule}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> LSTMOptimizer:
        rule = keras.saving.deserialize_keras_object(config["rule"], custom_objects=custom_objects)
        return super().from_config({**config, "rule": rule})
