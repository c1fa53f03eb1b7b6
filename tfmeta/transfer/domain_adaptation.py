"""Domain adaptation: labelled source, unlabelled target, one classifier for both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmeta.functional.discrepancy import covariance_distance, maximum_mean_discrepancy
from tfmeta.layers import network_input
from tfmeta.layers.gradient_reversal import reversal_strength, reverse_gradient
from tfmeta.transfer.classifier import BackboneClassifier


def domain_pairs(
    source_x: Any, source_y: Any, target_x: Any, *, batch_size: int = 64, seed: int = 0
) -> tf.data.Dataset:
    """Infinite batches of labelled source and unlabelled target examples, as many of each.

    Args:
        source_x: `[n, ...]`.
        source_y: `[n]` class numbers.
        target_x: `[m, ...]`.
        batch_size: examples of each domain in a batch.
        seed: of the order, drawn anew for every pass.

    Returns:
        A dataset of `({"source_x": ..., "target_x": ...}, source_y)`, as the learners of this
        module take it; give `fit` its `steps_per_epoch`.

    Raises:
        ValueError: for an empty domain, or labels and examples that differ in number.

    Example:
        >>> pairs = domain_pairs(np.zeros((5, 2)), np.arange(5), np.ones((3, 2)), batch_size=4)
        >>> inputs, y = next(iter(pairs))
        >>> inputs["target_x"].shape, y.shape
        (TensorShape([4, 2]), TensorShape([4]))
    """
    source_x, source_y, target_x = (np.asarray(a) for a in (source_x, source_y, target_x))
    if not (len(source_x) and len(target_x)):
        raise ValueError(
            "Both domains must have examples. Received: "
            f"{len(source_x)} of the source and {len(target_x)} of the target."
        )
    if len(source_x) != len(source_y):
        raise ValueError(
            "`source_y` must have one label for each source example. Received: "
            f"{len(source_y)} labels for {len(source_x)} examples."
        )
    if source_x.shape[1:] != target_x.shape[1:]:
        raise ValueError(
            "Both domains must have examples of one shape. Received: "
            f"{source_x.shape[1:]} and {target_x.shape[1:]}. Resize one of them."
        )

    def endless(*arrays: np.ndarray, offset: int) -> tf.data.Dataset:
        dataset = tf.data.Dataset.from_tensor_slices(arrays)
        dataset = dataset.shuffle(len(arrays[0]), seed=2 * seed + offset)
        return dataset.repeat().batch(batch_size, drop_remainder=True)

    pairs = tf.data.Dataset.zip(endless(source_x, source_y, offset=0), endless(target_x, offset=1))
    return pairs.map(lambda s, t: ({"source_x": s[0], "target_x": t[0]}, s[1])).prefetch(2)


def pseudo_labels(
    model: keras.Model, x: Any, *, threshold: float = 0.9, **kwargs: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The target examples that a classifier is sure of, with the classes it sees in them.

    Lee 2013, "Pseudo-Label"; they join the source in the next training.

    Args:
        model: from examples to logits.
        x: unlabelled examples `[n, ...]`.
        threshold: least probability of the likeliest class.
        **kwargs: other arguments of `keras.Model.predict`.

    Returns:
        Examples `[k, ...]` and class numbers `[k]` int32.

    Raises:
        ValueError: for a threshold that is no probability.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Identity()])
        >>> pseudo_labels(model, np.array([[5.0, 0.0], [0.0, 0.1]]))[1]
        array([0], dtype=int32)
    """
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"`threshold` must be in [0, 1]. Received: threshold={threshold}.")
    probabilities = tf.nn.softmax(model.predict(x, **{"verbose": 0, **kwargs})).numpy()
    sure = probabilities.max(axis=-1) >= threshold
    return np.asarray(x)[sure], probabilities[sure].argmax(axis=-1).astype("int32")


class DomainAdapter(BackboneClassifier):
    """A classifier that learns from source labels while its features forget the domain.

    `loss = cross-entropy(source) + weight * discrepancy(source features, target features)`; a
    subclass says what the discrepancy is. The learner is called, evaluated and exported as an
    ordinary classifier of either domain; only `fit` takes both (see `domain_pairs`). Inductive:
    new target examples are classified one by one.

    Args:
        backbone: a built Keras model from examples to features `[batch, features]`.
        head: the number of classes, or a Keras layer from features to logits.
        weight: of the discrepancy.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for an unbuilt backbone, outputs that are not vectors, or a negative weight.
    """

    def __init__(
        self, backbone: keras.Model, head: int | keras.layers.Layer, *, weight: float, **kwargs: Any
    ) -> None:
        if weight < 0.0:
            raise ValueError(f"`weight` must not be negative. Received: weight={weight}.")
        super().__init__(backbone, head, **kwargs)
        self.weight = weight
        self.discrepancy_tracker = keras.metrics.Mean(name="discrepancy")

    def discrepancy(self, source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """How far apart the features of the domains are; a scalar.

        Args:
            source: features of source examples `[n, features]`.
            target: features of target examples `[m, features]`.
        """
        raise NotImplementedError

    def call(self, inputs, training=False):
        return self.head(self._features(inputs, training), training=training)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        inputs, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if not isinstance(inputs, Mapping) or set(inputs) != {"source_x", "target_x"}:
            raise ValueError(
                "`fit` takes batches ({'source_x', 'target_x'}, source_y). Received: "
                f"{sorted(inputs) if isinstance(inputs, Mapping) else type(inputs).__name__}. "
                "Make them with `tfmeta.transfer.domain_pairs`."
            )
        with tf.GradientTape() as tape:
            source = self._features(inputs["source_x"], True)
            target = self._features(inputs["target_x"], True)
            logits = self.head(source, training=True)
            loss = self.compute_loss(inputs, y, logits, sample_weight, training=True)
            n_replicas = tf.distribute.get_strategy().num_replicas_in_sync
            discrepancy = self.discrepancy(source, target)
            total = loss + self.weight * discrepancy / n_replicas
        gradients = tape.gradient(total, [v.value for v in self.trainable_variables])
        total = self._finite(total, gradients)
        with tf.control_dependencies([total]):
            self.optimizer.apply(gradients, self.trainable_variables)
        self._track_loss(total, logits)
        self.discrepancy_tracker.update_state(discrepancy)
        return self.compute_metrics(inputs, y, logits, sample_weight)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        logs = super().test_step(data)
        # Of training only.
        del logs[self.discrepancy_tracker.name]
        return logs

    def _features(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        return self.backbone(network_input(self.backbone, x), training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight": self.weight}


@keras.saving.register_keras_serializable("tfmeta")
class DAN(DomainAdapter):
    """Deep Adaptation Network: the discrepancy is that of the means in a kernel space.

    Long et al. 2015, "Learning Transferable Features with Deep Adaptation Networks"; see
    `tfmeta.functional.discrepancy.maximum_mean_discrepancy`.

    Args:
        backbone: a built Keras model from examples to features `[batch, features]`.
        head: the number of classes, or a Keras layer from features to logits.
        weight: of the discrepancy.
        **kwargs: `name` and other arguments of `keras.Model`.

    Example:
        >>> learner = DAN(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]), 2)
        >>> learner(np.zeros((4, 2))).shape
        TensorShape([4, 2])
    """

    def __init__(self, backbone, head, *, weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(backbone, head, weight=weight, **kwargs)

    def discrepancy(self, source, target):
        return maximum_mean_discrepancy(source, target)


@keras.saving.register_keras_serializable("tfmeta")
class DeepCORAL(DomainAdapter):
    """Deep CORAL: the discrepancy is that of the covariances (Sun and Saenko 2016).

    Args:
        backbone: a built Keras model from examples to features `[batch, features]`.
        head: the number of classes, or a Keras layer from features to logits.
        weight: of the discrepancy.
        **kwargs: `name` and other arguments of `keras.Model`.

    Example:
        >>> learner = DeepCORAL(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]), 2)
        >>> learner(np.zeros((4, 2))).shape
        TensorShape([4, 2])
    """

    def __init__(self, backbone, head, *, weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(backbone, head, weight=weight, **kwargs)

    def discrepancy(self, source, target):
        return covariance_distance(source, target)


@keras.saving.register_keras_serializable("tfmeta")
class DANN(DomainAdapter):
    """Domain-adversarial network: a classifier of the domain, whose gradient is reversed.

    The discrepancy is minus what the best classifier of the domain cannot tell: features learn to
    raise the loss that the classifier lowers (Ganin et al. 2016, "Domain-Adversarial Training of
    Neural Networks"). The reversal grows from 0 to 1 over `steps`.

    Args:
        backbone: a built Keras model from examples to features `[batch, features]`.
        head: the number of classes, or a Keras layer from features to logits.
        steps: training steps over which the reversal grows.
        hidden: width of the domain classifier's two hidden layers.
        weight: of the domain loss.
        **kwargs: `name` and other arguments of `keras.Model`.

    Example:
        >>> learner = DANN(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]), 2)
        >>> learner(np.zeros((4, 2))).shape
        TensorShape([4, 2])
    """

    def __init__(
        self,
        backbone,
        head,
        *,
        steps: int = 1000,
        hidden: int = 100,
        weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if steps < 1 or hidden < 1:
            raise ValueError(
                "`steps` and `hidden` must be at least 1. "
                f"Received: steps={steps}, hidden={hidden}."
            )
        super().__init__(backbone, head, weight=weight, **kwargs)
        self.steps, self.hidden = steps, hidden
        layers = [keras.layers.Dense(hidden, activation="relu") for _ in range(2)]
        self.domain_classifier = keras.Sequential(
            [keras.Input((backbone.output_shape[-1],)), *layers, keras.layers.Dense(1)],
            name="domain_classifier",
        )

    def discrepancy(self, source, target):
        progress = tf.cast(self.optimizer.iterations, source.dtype) / self.steps
        strength = reversal_strength(tf.minimum(progress, 1.0))
        features = reverse_gradient(tf.concat([source, target], axis=0), strength)
        logits = self.domain_classifier(features)[:, 0]
        is_target = tf.concat(
            [tf.zeros(tf.shape(source)[:1]), tf.ones(tf.shape(target)[:1])], axis=0
        )
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(is_target, tf.cast(logits, "float32"))
        return tf.reduce_mean(entropy)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "steps": self.steps, "hidden": self.hidden}
