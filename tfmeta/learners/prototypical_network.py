"""Prototypical Networks (Snell, Swersky and Zemel 2017)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmeta.functional import DISTANCES, diagonal_mahalanobis
from tfmeta.learners import checks
from tfmeta.learners.prototype_learner import PrototypeLearner

# `softplus` of it is one: training starts from the squared Euclidean distance.
_RAW_ONE = float(np.log(np.e - 1.0))


@keras.saving.register_keras_serializable("tfmeta")
class PrototypicalNetwork(PrototypeLearner):
    """Classifies a query by its distance to the mean embedding of each class.

    `p(y = k | x) = softmax_k(-d(f(x), c_k) / temperature)` with `c_k` the mean of `f` over the
    support of class k (Snell et al. 2017, "Prototypical Networks for Few-shot Learning", equations
    1 and 2). An episode may have any number of classes.

    Args:
        backbone: a built Keras model from an example to a feature vector.
        distance: `"squared_euclidean"` (the paper's choice), `"cosine"`, or `"mahalanobis"`:
            squared differences weighted by a learned diagonal, `softplus` of a weight for each
            feature (the diagonal case of Xing et al. 2002).
        temperature: divides the distances: a number, or `"learned"`: `exp(-s)` with a weight `s`
            that starts at 0 (as Oreshkin et al. 2018 scale the metric in TADAM).
        **kwargs: `refinement`, `statistics`, `engine`, `name` and other arguments of
            `PrototypeLearner`.

    Raises:
        ValueError: for an unbuilt backbone, outputs that are not vectors, or an unknown option.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> learner = PrototypicalNetwork(backbone)
        >>> state = learner.adapt(tf.constant([[0.0, 1.0], [1.0, 0.0]]), tf.constant([0, 1]))
        >>> learner.predict_query(state, tf.constant([[0.0, 1.0]])).shape
        TensorShape([1, 2])
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        distance: str = "squared_euclidean",
        temperature: float | str = 1.0,
        **kwargs: Any,
    ) -> None:
        checks.check_choice("distance", distance, (*DISTANCES, "mahalanobis"))
        if temperature != "learned":
            checks.check_positive_number("temperature", temperature)
        super().__init__(backbone, **kwargs)
        self.distance = distance
        self.temperature = temperature
        if distance == "mahalanobis":
            start = keras.initializers.Constant(_RAW_ONE)
            self.raw_precision = self.add_weight(
                shape=(self.n_features,), initializer=start, name="raw_precision"
            )
        if temperature == "learned":
            self.log_scale = self.add_weight(shape=(), initializer="zeros", name="log_scale")

    def prototype_logits(self, features, prototypes):
        distances = self._distances(features, prototypes)
        if self.temperature == "learned":
            return -distances * tf.exp(tf.convert_to_tensor(self.log_scale))
        return -distances / self.temperature

    def _distances(self, features: tf.Tensor, prototypes: tf.Tensor) -> tf.Tensor:
        if self.distance != "mahalanobis":
            return DISTANCES[self.distance](features, prototypes)
        precision = tf.math.softplus(tf.convert_to_tensor(self.raw_precision))
        return diagonal_mahalanobis(features, prototypes, precision)

    def get_config(self) -> dict[str, Any]:
        names = ("distance", "temperature")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
