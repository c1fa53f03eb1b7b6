"""A classifier whose training batches hold examples of two domains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfmeta.layers import network_input
from tfmeta.transfer.classifier import BackboneClassifier


class TwoDomainClassifier(BackboneClassifier):
    """A classifier that trains on two domains, and is otherwise an ordinary one of either.

    A subclass has `train_step`, and says what it is fed: `fed` names the inputs of a training
    batch, of which the first is what `y` labels, `made_by` the function that makes such batches,
    and `training_logs` the logs that there are in training only.

    Args:
        backbone: a built Keras model from examples to features `[batch, features]`.
        head: the number of classes, for a linear head; or a Keras layer from features to outputs.
        **kwargs: `name` and other arguments of `keras.Model`.
    """

    fed: tuple[str, ...] = ("source_x", "target_x")
    made_by = "domain_pairs"
    training_logs: tuple[str, ...] = ()

    def call(self, inputs, training=False):
        if isinstance(inputs, Mapping):
            # Under a strategy Keras calls the model on a training batch to build its metrics.
            inputs = inputs[self.fed[0]]
        return self.head(self._features(inputs, training), training=training)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        logs = super().test_step(data)
        return {name: value for name, value in logs.items() if name not in self.training_logs}

    def _features(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        return self.backbone(network_input(self.backbone, x), training=training)

    def _unpack(self, data: Any) -> tuple[Mapping[str, tf.Tensor], tf.Tensor, tf.Tensor | None]:
        """Inputs, labels and sample weights of a training batch, which must have what is fed."""
        inputs, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if not isinstance(inputs, Mapping) or not set(self.fed) <= set(inputs):
            raise ValueError(
                f"`fit` takes batches with the inputs {list(self.fed)}. Received: "
                f"{sorted(inputs) if isinstance(inputs, Mapping) else type(inputs).__name__}. "
                f"Make them with `tfmeta.transfer.{self.made_by}`."
            )
        return inputs, y, sample_weight
