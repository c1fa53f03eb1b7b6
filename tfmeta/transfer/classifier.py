"""A backbone under a head, on ordinary batches: what fine-tuning and domain adaptation share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmeta.errors import errors_as_value_errors, require
from tfmeta.layers import use_exact_layers


class BackboneClassifier(keras.Model):
    """A pretrained backbone and a head, with the cross-entropy of logits as the default loss.

    Args:
        backbone: a built Keras model from examples to features `[batch, features]`.
        head: the number of classes, for a linear head; or a Keras layer from features to outputs.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for a backbone that is not built, or whose outputs are not vectors.
    """

    def __init__(
        self, backbone: keras.Model, head: int | keras.layers.Layer, **kwargs: Any
    ) -> None:
        _check_backbone(backbone)
        super().__init__(**kwargs)
        use_exact_layers(backbone)
        self.backbone = backbone
        self.head = keras.layers.Dense(head, name="head") if isinstance(head, int) else head
        if not self.head.built:
            self.head.build(backbone.output_shape)
        self.built = True

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The compiled loss, by default the cross-entropy of logits."""
        if self.loss is not None:
            return super().compute_loss(x, y, y_pred, sample_weight, training=training)
        dtype = self.variable_dtype
        entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype=dtype)
        added = [self._aggregate_additional_loss(loss) for loss in self.losses]
        return tf.add_n([entropy(y, y_pred, sample_weight), *added])

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`; a loss that is not finite is a `ValueError`."""
        if isinstance(x, tf.data.Dataset):
            # Keras warns that it does not shuffle a dataset, though nobody asked it to.
            kwargs.setdefault("shuffle", False)
        with errors_as_value_errors():
            return super().fit(x, y, **kwargs)

    def _step(
        self, loss: tf.Tensor, gradients: Sequence[Any], variables: Sequence[keras.Variable]
    ) -> tf.Tensor:
        """The loss, once it and its gradients are finite and the optimizer has made a step."""
        loss = self._finite(loss, gradients)
        with tf.control_dependencies([loss]):
            self._apply(gradients, variables)
        return loss

    def _apply(self, gradients: Sequence[Any], variables: Sequence[keras.Variable]) -> None:
        self.optimizer.apply(gradients, variables)

    def _finite(self, loss: tf.Tensor, gradients: Sequence[Any]) -> tf.Tensor:
        """The loss, once it and all gradients are finite."""
        finite = [tf.reduce_all(tf.math.is_finite(g)) for g in gradients if g is not None]
        return require(
            tf.reduce_all(tf.stack([tf.math.is_finite(loss), *finite])),
            "The loss or its gradient is not finite, and the weights are as they were before this "
            "step. Lower the learning rate or look at the data. Received: loss",
            [loss],
            loss,
        )

    def _track_loss(self, loss: tf.Tensor, outputs: tf.Tensor) -> None:
        # The loss of one replica is already divided by the number of replicas.
        n_replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._loss_tracker.update_state(loss * n_replicas, sample_weight=tf.shape(outputs)[0])

    def get_config(self) -> dict[str, Any]:
        nested = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("backbone", "head")
        }
        return {**super().get_config(), **nested}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> BackboneClassifier:
        nested = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in ("backbone", "head")
        }
        return cls(**{**config, **nested})


def _check_backbone(backbone: Any) -> None:
    if not isinstance(backbone, keras.Model) or not backbone.built:
        raise ValueError(
            "`backbone` must be a built `keras.Model`, for example `tfmeta.models.pretrained(...)`."
            f" Received: backbone={backbone!r}. Give it a `keras.Input`, or call it on a batch."
        )
    shape = backbone.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[-1] is None:
        raise ValueError(
            "`backbone` must give features [batch, features]. Received: outputs of shape "
            f"{shape}. End it with a pooling or flattening layer."
        )
