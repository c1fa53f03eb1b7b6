"""The base of learners that embed examples and fit a head on the features of the support."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.inner_loop import dense_gradients
from tfmeta.learners import checks
from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.episode import Episode, OuterStep
from tfmeta.learners.passes import Moments, network_pass, query_source


class EmbeddedSupport(NamedTuple):
    """What a support set leaves: a head on features, and statistics for the query pass."""

    head: Any
    moments: Moments


class EmbeddingLearner(EpisodicLearner):
    """A backbone from examples to features, and a head that each support set fits on them.

    A method is two functions of the features of ONE episode:

        fit_head(features, y, *, training=False) -> head
        query_logits(head, features) -> logits

    and, where training lowers another loss than the compiled loss of the logits, `training_loss`.
    The head is a nest of tensors. An episode may have any number of classes.

    Args:
        backbone: a built Keras model from an example to a feature vector.
        statistics: `"running"` (batch statistics while training, their moving averages afterwards,
            so that a query's features do not depend on other examples), `"support"` or
            `"transductive"`.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for an unbuilt backbone, outputs that are not vectors, or an unknown option.
    """

    network_argument = "backbone"
    nested_arguments = ("backbone",)

    def __init__(
        self, backbone: keras.Model, *, statistics: str = "running", **kwargs: Any
    ) -> None:
        super().__init__(backbone, statistics=statistics, **kwargs)
        self._check_features()

    # ----- what a method defines ------------------------------------------------------------

    def fit_head(self, features: tf.Tensor, y: tf.Tensor, *, training: bool = False) -> Any:
        """The head that the features of a support set lead to.

        Args:
            features: `[support, d]`, of the learner's dtype.
            y: `[support]` int32; every class `0 ... n_way - 1` is there.
            training: whether this is part of meta-training.

        Returns:
            A nest of tensors.
        """
        raise NotImplementedError

    def query_logits(self, head: Any, features: tf.Tensor) -> tf.Tensor:
        """Logits of queries under a head; pure in `head`.

        Args:
            head: what `fit_head` returned.
            features: `[query, d]`.

        Returns:
            `[query, n_way]`.
        """
        raise NotImplementedError

    def training_loss(
        self, episode: Episode, head: Any, query_features: tf.Tensor, logits: tf.Tensor
    ) -> tf.Tensor:
        """The loss that training lowers; by default the compiled loss of the logits.

        Args:
            episode: with `query_y` and `sample_weight` of real queries.
            head: what `fit_head` returned.
            query_features: `[query, d]`.
            logits: what `query_logits` returned, `[query, n_way]`.

        Returns:
            A scalar of the learner's dtype.
        """
        return self._episode_loss(episode, logits, training=True)

    # ----- what follows from it -------------------------------------------------------------

    def adapt(self, support_x, support_y, support_mask=None, *, training=False) -> EmbeddedSupport:
        x, y = self.support_examples(support_x, support_y, support_mask)
        if not y.dtype.is_integer:
            raise ValueError(
                f"`{type(self).__name__}` classifies: `support_y` must be class numbers [support]. "
                f"Received: targets of shape {y.shape}. Use `MAML` for regression."
            )
        y = checks.assert_every_class(y)
        source = self._support_source(training)
        features, moments = self._features(x, source=source, training=training)
        keeps = self.statistics == "support" or (self.statistics == "running" and training)
        head = self.fit_head(features, y, training=training)
        return EmbeddedSupport(head, moments if keeps else ())

    def query_pass(self, state, query_x, *, training):
        features, moments = self._query_features(state, query_x, training=training)
        return self.query_logits(state.head, features), moments

    def predict_query(self, state, query_x):
        self.check_examples("query_x", query_x)
        return self.query_pass(state, query_x, training=False)[0]

    def outer_gradients(self, episode: Episode) -> OuterStep:
        with tf.GradientTape() as tape:
            state = self.adapt(*episode.support, training=True)
            query_x = episode.inputs["query_x"]
            features, moments = self._query_features(state, query_x, training=True)
            logits = self.query_logits(state.head, features)
            loss = self.training_loss(episode, state.head, features, logits)
        gradients = dense_gradients(tape, loss, self._trainable_tensors())
        return OuterStep(logits, loss, tuple(gradients), moments)

    # ----- parts ----------------------------------------------------------------------------

    def _check_features(self) -> None:
        """Refuses a backbone whose outputs the method cannot take; here all but vectors."""
        checks.check_vectors("backbone", self.backbone)

    @property
    def n_features(self) -> int:
        """The length of a feature vector."""
        return self.backbone.output_shape[-1]

    def _query_features(
        self, state: EmbeddedSupport, query_x: tf.Tensor, *, training: bool
    ) -> tuple[tf.Tensor, Moments]:
        source = query_source(self.statistics, training=training)
        x = self.network_input(query_x)
        features, moments = self._features(
            x, source=source, moments=state.moments, training=training
        )
        return features, moments if self.statistics == "running" else ()

    def _features(self, x: tf.Tensor, **options: Any) -> tuple[tf.Tensor, Moments]:
        """Features of examples, and the moving statistics; options of `network_pass`."""
        features, moments = network_pass(self.backbone, x, **options)
        return tf.cast(features, self.variable_dtype), moments

    def _support_source(self, training: bool) -> str:
        if self.statistics == "running":
            return "update" if training else "moving"
        return "batch"
