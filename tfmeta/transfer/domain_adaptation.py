"""Domain adaptation: labelled source, unlabelled target, one classifier for both."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmeta.functional.discrepancy import covariance_distance, maximum_mean_discrepancy
from tfmeta.layers.gradient_reversal import reversal_strength, reverse_gradient
from tfmeta.transfer.two_domains import TwoDomainClassifier


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


class DomainAdapter(TwoDomainClassifier):
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

    training_logs = ("discrepancy",)

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

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        inputs, y, sample_weight = self._unpack(data)
        with tf.GradientTape() as tape:
            source = self._features(inputs["source_x"], True)
            target = self._features(inputs["target_x"], True)
            logits = self.head(source, training=True)
            loss = self.compute_loss(inputs, y, logits, sample_weight, training=True)
            n_replicas = tf.distribute.get_strategy().num_replicas_in_sync
            discrepancy = self.discrepancy(source, target)
            total = loss + self.weight * discrepancy / n_replicas
        gradients = tape.gradient(total, [v.value for v in self.trainable_variables])
        total = self._step(total, gradients, self.trainable_variables)
        self._track_loss(total, logits)
        self.discrepancy_tracker.update_state(discrepancy)
        return self.compute_metrics(inputs, y, logits, sample_weight)

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
