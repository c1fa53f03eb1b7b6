"""An update rule on clipped gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmeta.inner_loop.update_rules import UpdateRule, check_rate, get_update_rule


@keras.saving.register_keras_serializable("tfmeta")
class ClippedGradients(UpdateRule):
    """Another rule, on gradients whose joint norm is at most `max_norm` (Pascanu et al. 2013).

    `g <- g max_norm / max(norm(g), max_norm)` with the norm over all weights of the task.

    Args:
        rule: an inner rate, or an `UpdateRule`.
        max_norm: positive.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Raises:
        ValueError: for a norm that is not positive and finite.

    Example:
        >>> rule = ClippedGradients(1.0, max_norm=1.0)
        >>> moved, _ = rule.update(0, [tf.zeros([2])], [tf.constant([3.0, 4.0])], ())
        >>> moved[0].numpy().round(3)
        array([-0.6, -0.8], dtype=float32)
    """

    def __init__(self, rule: float | UpdateRule, *, max_norm: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rule = get_update_rule(rule)
        self.has_weights_of_shape = self.rule.has_weights_of_shape
        self.reads_loss = self.rule.reads_loss
        self.max_norm = check_rate(max_norm, name="max_norm")

    def create_weights(self, variables: Sequence[keras.Variable], inner_steps: int) -> None:
        self.rule.create_weights(variables, inner_steps)

    def initial_state(self, weights):
        return self.rule.initial_state(weights)

    def update(self, step, weights, gradients, state, **read):
        clipped = clip_by_norm(gradients, self.max_norm)
        return self.rule.update(step, weights, clipped, state, **read)

    def get_config(self) -> dict[str, Any]:
        rule = keras.saving.serialize_keras_object(self.rule)
        return {**super().get_config(), "rule": rule, "max_norm": self.max_norm}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ClippedGradients:
        rule = keras.saving.deserialize_keras_object(config["rule"])
        return cls(**{**config, "rule": rule})


def clip_by_norm(gradients: Sequence[tf.Tensor], max_norm: float) -> list[tf.Tensor]:
    """Gradients scaled so that their joint norm is at most `max_norm`; differentiable at zero.

    Args:
        gradients: tensors.
        max_norm: positive.

    Returns:
        Tensors of the same shapes.

    Example:
        >>> [float(g) for g in clip_by_norm([tf.constant(3.0), tf.constant(4.0)], 10.0)]
        [3.0, 4.0]
    """
    square = tf.add_n([tf.reduce_sum(tf.square(g)) for g in gradients])
    scale = max_norm / tf.sqrt(tf.maximum(square, max_norm**2))
    return [g * scale for g in gradients]
