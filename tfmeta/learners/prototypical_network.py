"""Prototypical Networks (Snell, Swersky and Zemel 2017)."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.functional import DISTANCES, class_means
from tfmeta.learners import checks
from tfmeta.learners.embedding_learner import EmbeddingLearner


class Prototypes(NamedTuple):
    """A head of class means `[n_way, d]`, and how many examples each has `[n_way]`."""

    prototypes: tf.Tensor
    counts: tf.Tensor


@keras.saving.register_keras_serializable("tfmeta")
class PrototypicalNetwork(EmbeddingLearner):
    """Classifies a query by its distance to the mean embedding of each class.

    `p(y = k | x) = softmax_k(-d(f(x), c_k))` with `c_k` the mean of `f` over the support of class
    k (Snell et al. 2017, "Prototypical Networks for Few-shot Learning", equations 1 and 2). An
    episode may have any number of classes.

    Args:
        backbone: a built Keras model from an example to a feature vector.
        distance: `"squared_euclidean"` (the paper's choice) or `"cosine"`.
        **kwargs: `statistics`, `name` and other arguments of `EmbeddingLearner`.

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
        self, backbone: keras.Model, *, distance: str = "squared_euclidean", **kwargs: Any
    ) -> None:
        checks.check_choice("distance", distance, tuple(DISTANCES))
        super().__init__(backbone, **kwargs)
        self.distance = distance

    def fit_head(self, features, y, *, training=False) -> Prototypes:
        n_way = tf.reduce_max(y) + 1
        counts = tf.math.bincount(y, minlength=n_way, dtype=features.dtype)
        return Prototypes(class_means(features, y, n_way), counts)

    def query_logits(self, head, features):
        return -DISTANCES[self.distance](features, head.prototypes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "distance": self.distance}
