"""Prototypical Networks (Snell, Swersky and Zemel 2017)."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.functional import DISTANCES, class_means
from tfmeta.learners import checks
from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.passes import Moments, network_pass, query_source


class Prototypes(NamedTuple):
    """What a support set leaves: `[n_way, features]`, and statistics for the query pass."""

    prototypes: tf.Tensor
    moments: Moments


@keras.saving.register_keras_serializable("tfmeta")
class PrototypicalNetwork(EpisodicLearner):
    """Classifies a query by its distance to the mean embedding of each class.

    `p(y = k | x) = softmax_k(-d(f(x), c_k))` with `c_k` the mean of `f` over the support of class
    k (Snell et al. 2017, "Prototypical Networks for Few-shot Learning", equations 1 and 2). An
    episode may have any number of classes.

    Args:
        backbone: a built Keras model from an example to a feature vector.
        distance: `"squared_euclidean"` (the paper's choice) or `"cosine"`.
        statistics: `"running"` (default, as in the paper: batch statistics while training, their
            moving averages afterwards, so that a class's score does not depend on other classes),
            `"support"` or `"transductive"`.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for an unbuilt backbone, outputs that are not vectors, or an unknown option.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> learner = PrototypicalNetwork(backbone)
        >>> state = learner.adapt(tf.constant([[0.0, 1.0], [1.0, 0.0]]), tf.constant([0, 1]))
        >>> learner.predict_query(state, tf.constant([[0.0, 1.0]])).shape
        TensorShape([1, 2])
    """

    network_argument = "backbone"
    nested_arguments = ("backbone",)

    def __init__(
        self,
        backbone: keras.Model,
        *,
        distance: str = "squared_euclidean",
        statistics: str = "running",
        **kwargs: Any,
    ) -> None:
        checks.check_choice("distance", distance, tuple(DISTANCES))
        super().__init__(backbone, statistics=statistics, **kwargs)
        checks.check_vectors("backbone", backbone)
        self.distance = distance

    def adapt(self, support_x, support_y, support_mask=None, *, training=False) -> Prototypes:
        x, y = self.support_examples(support_x, support_y, support_mask)
        if not y.dtype.is_integer:
            raise ValueError(
                "A Prototypical Network classifies: `support_y` must be class numbers [support]. "
                f"Received: targets of shape {y.shape}. Use `MAML` for regression."
            )
        y = checks.assert_every_class(y)
        source = self._support_source(training)
        features, moments = network_pass(self.backbone, x, source=source, training=training)
        features = tf.cast(features, self.variable_dtype)
        prototypes = class_means(features, y, tf.reduce_max(y) + 1)
        keeps = self.statistics == "support" or (self.statistics == "running" and training)
        return Prototypes(prototypes, moments if keeps else ())

    def query_pass(self, state, query_x, *, training):
        features, moments = network_pass(
            self.backbone,
            self.network_input(query_x),
            source=query_source(self.statistics, training=training),
            moments=state.moments,
            training=training,
        )
        features = tf.cast(features, self.variable_dtype)
        logits = -DISTANCES[self.distance](features, state.prototypes)
        return logits, moments if self.statistics == "running" else ()

    def predict_query(self, state, query_x):
        self.check_examples("query_x", query_x)
        return self.query_pass(state, query_x, training=False)[0]

    def _support_source(self, training: bool) -> str:
        if self.statistics == "running":
            return "update" if training else "moving"
        return "batch"

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "distance": self.distance}
