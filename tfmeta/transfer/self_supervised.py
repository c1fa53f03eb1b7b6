"""Backbones that learn from examples without labels: unsupervised transfer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional import cross_entropy
from tfmeta.functional.contrastive import view_logits
from tfmeta.inner_loop import stateless_call
from tfmeta.layers import moving_statistics, network_input, normalize_by
from tfmeta.transfer.classifier import BackboneClassifier

# More than a layer draws in one call, so that no two views share a draw.
_VIEW_STRIDE = 1_000


class PretextLearner(BackboneClassifier):
    """A backbone that learns by a pretext task: a classification whose labels come for free.

    A method is one function, `pretext`. `fit` and `evaluate` take batches of examples `x`, arrays
    or a `tf.data.Dataset`; of a dataset of `(x, y)` the labels are not looked at. The loss is the
    cross-entropy of the pretext task, `accuracy` is that of the pretext task too. The model itself
    gives features, `predict` with them; `model.backbone` goes under any head or learner. Transfer
    from it is unsupervised: no label of the source is used.

    uint8 pictures are scaled to 0 ... 1, unless the backbone's input is declared uint8.

    Args:
        backbone: a built Keras model from examples to features `[batch, features]`.
        head: a Keras layer on the features, which only the pretext task uses.
        **kwargs: `name` and other arguments of `keras.Model`.
    """

    def __init__(self, backbone: keras.Model, head: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(backbone, head, **kwargs)
        self.accuracy_tracker = keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    def pretext(self, x: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """The pretext task of a batch.

        Args:
            x: `[batch, ...]`, in the dtype that the backbone takes.
            training: whether backbone and head are trained.

        Returns:
            Logits `[n, k]` and class numbers `[n]`.
        """
        raise NotImplementedError

    def call(self, inputs, training=False):
        return self._features(network_input(self.backbone, inputs), training)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        n_replicas = tf.distribute.get_strategy().num_replicas_in_sync
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            logits, labels, loss = self._task(data, training=True)
            loss = loss / n_replicas
        gradients = tape.gradient(loss, [v.value for v in variables])
        loss = self._step(loss, gradients, variables)
        self._share_moving_statistics()
        return self._logs(logits, labels, loss)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        n_replicas = tf.distribute.get_strategy().num_replicas_in_sync
        logits, labels, loss = self._task(data, training=False)
        return self._logs(logits, labels, loss / n_replicas)

    def _task(self, data: Any, *, training: bool) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        logits, labels = self.pretext(network_input(self.backbone, x), training=training)
        logits = tf.cast(logits, self.variable_dtype)
        return logits, labels, tf.add_n([cross_entropy(labels, logits), *self.losses])

    def _logs(self, logits: tf.Tensor, labels: tf.Tensor, loss: tf.Tensor) -> dict[str, tf.Tensor]:
        self._track_loss(loss, logits)
        self.accuracy_tracker.update_state(labels, logits)
        return self.get_metrics_result()

    def _features(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        with normalize_by("update" if training else "moving"):
            return self.backbone(x, training=training)

    def _share_moving_statistics(self) -> None:
        """Assigns the mean over replicas, of which each has normalised a part of the batch."""
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            replica = tf.distribute.get_replica_context()
            for variable in moving_statistics(self.backbone):
                variable.assign(replica.all_reduce("MEAN", variable.value))


@keras.saving.register_keras_serializable("tfmeta")
class RotationPrediction(PretextLearner):
    """A backbone that learns by how far pictures were turned: by 0, 90, 180 or 270 degrees.

    Every picture goes in all four ways, so that a batch is four times as large (Gidaris et al.
    2018, "Unsupervised Representation Learning by Predicting Image Rotations"). Of no use where
    classes are each other turned, and weak where pictures have no up and down.

    Args:
        backbone: a built Keras model from square pictures to features `[batch, features]`.
        head: a Keras layer from features to four logits; None for a linear one.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for a backbone that is unbuilt, takes no square pictures or gives no vectors.

    Example:
        >>> backbone = keras.Sequential([
        ...     keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
        >>> model = RotationPrediction(backbone)
        >>> model.compile("adam")
        >>> history = model.fit(np.zeros((6, 8, 8, 1), "uint8"), verbose=0)
        >>> sorted(history.history)
        ['accuracy', 'loss']
    """

    def __init__(
        self, backbone: keras.Model, head: keras.layers.Layer | None = None, **kwargs: Any
    ) -> None:
        head = keras.layers.Dense(4, name="head") if head is None else head
        super().__init__(backbone, head, **kwargs)
        shape = backbone.input_shape
        if len(shape) != 4 or shape[1] != shape[2]:
            raise ValueError(
                "`RotationPrediction` turns square pictures [batch, height, width, channels]. "
                f"Received: a backbone for inputs of shape {shape}. Crop or resize to squares."
            )

    def pretext(self, x, *, training):
        turned = tf.concat([tf.image.rot90(x, turns) for turns in range(4)], axis=0)
        labels = tf.repeat(tf.range(4), tf.shape(x)[0])
        return self.head(self._features(turned, training), training=training), labels


@keras.saving.register_keras_serializable("tfmeta")
class SimCLR(PretextLearner):
    """A backbone that learns to tell two random views of one example from those of all others.

    The loss is `tfmeta.functional.nt_xent` of a small network on the features, which is thrown
    away afterwards (Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual
    Representations"); the accuracy is how often a view's own partner is the nearest. The negatives
    of an example are the others of its batch, so that large batches are better; on several
    replicas they are the others of the replica's part of it.

    The views are a function of the seed, the step and the replica, so that a loaded model goes on
    with those that it would have drawn.

    Args:
        backbone: a built Keras model from examples to features `[batch, features]`.
        projection: width of the projection, for the paper's two layers; or a Keras layer.
        temperature: of the similarities, above 0.
        augment: a Keras layer that changes examples at random when it is called with
            `training=True`; it sees floats, on the scale that the backbone takes. None for shifts,
            turns and zooms of pictures, as suits drawings; photographs want crops, mirrors and
            colours too.
        seed: of the views.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for a backbone that is unbuilt or gives no vectors, a temperature that is not
            above 0, or no `augment` for examples that are not pictures.

    Example:
        >>> backbone = keras.Sequential([
        ...     keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
        >>> model = SimCLR(backbone, projection=8)
        >>> model.compile("adam")
        >>> history = model.fit(np.zeros((6, 8, 8, 1), "uint8"), verbose=0)
        >>> model.backbone(np.zeros((2, 8, 8, 1))).shape
        TensorShape([2, 4])
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        projection: int | keras.layers.Layer = 128,
        temperature: float = 0.5,
        augment: keras.layers.Layer | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if temperature <= 0.0:
            raise ValueError(f"`temperature` must be above 0. Received: temperature={temperature}.")
        super().__init__(backbone, _projection(backbone, projection), **kwargs)
        self.projection = self.head
        self.temperature = temperature
        self.seed = seed
        self.augment = _picture_views(backbone) if augment is None else augment
        if not self.augment.built:
            self.augment.build(backbone.input_shape)

    def pretext(self, x, *, training):
        features = self._features(tf.concat([self._view(x, 0), self._view(x, 1)], axis=0), training)
        # Half precision has no room for the logit of a view and itself.
        z = tf.cast(self.projection(features, training=training), self.variable_dtype)
        first, second = tf.split(z, 2)
        return view_logits(first, second, temperature=self.temperature)

    def _view(self, x: tf.Tensor, number: int) -> tf.Tensor:
        """A random view of each example, in training and in evaluation; there are two of a step."""
        is_float = x.dtype.is_floating
        floats = x if is_float else tf.cast(x, "float32")
        seeds = self._seeds(number)
        view, _ = stateless_call(self.augment, floats, values=seeds, training=True)
        return tf.cast(view, x.dtype) if is_float else tf.saturate_cast(tf.round(view), x.dtype)

    def _seeds(self, number: int) -> list[tuple[keras.Variable, tf.Tensor]]:
        """States of the seeds of the random layers, which Keras does not save."""
        replica = tf.distribute.get_replica_context()
        step = tf.cast(self.optimizer.iterations if self.compiled else 0, "int64")
        place = tf.cast(replica.replica_id_in_sync_group, "int64")
        draw = _VIEW_STRIDE * ((2 * step + number) * replica.num_replicas_in_sync + place)
        variables = self.augment.non_trainable_variables
        states = [v for v in variables if v.name == "seed_generator_state"]
        return [
            (v, tf.cast(tf.stack([tf.constant(self.seed + k, "int64"), draw]), v.dtype))
            for k, v in enumerate(states)
        ]

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        projection = config.pop("head")
        return {
            **config,
            "projection": projection,
            "temperature": self.temperature,
            "seed": self.seed,
            "augment": keras.saving.serialize_keras_object(self.augment),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> SimCLR:
        nested = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in ("backbone", "projection", "augment")
        }
        return cls(**{**config, **nested})


def _projection(backbone: keras.Model, projection: int | keras.layers.Layer) -> keras.layers.Layer:
    if not isinstance(projection, int):
        return projection
    # Without a width the base class refuses the backbone.
    width = getattr(backbone, "output_shape", (None,))[-1] or projection
    layers = [keras.layers.Dense(width, activation="relu"), keras.layers.Dense(projection)]
    return keras.Sequential(layers, name="projection")


def _picture_views(backbone: keras.Model) -> keras.layers.Layer:
    if len(backbone.input_shape) != 4:
        raise ValueError(
            "`augment` must be a Keras layer where examples are not pictures [height, width, "
            f"channels]. Received: augment=None for inputs of shape {backbone.input_shape}. For "
            "vectors try `keras.layers.GaussianNoise(0.1)`."
        )
    outside = {"fill_mode": "constant", "fill_value": 0.0}
    return keras.Sequential(
        [
            keras.layers.RandomRotation(0.04, **outside),
            keras.layers.RandomTranslation(0.1, 0.1, **outside),
            keras.layers.RandomZoom(0.15, 0.15, **outside),
        ],
        name="views",
    )
