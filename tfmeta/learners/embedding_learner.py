"""The base of learners that embed examples and fit a head on the features of the support."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.errors import require
from tfmeta.inner_loop import dense_gradients, episode_draws, folded_seeds
from tfmeta.layers import layers_without_rule
from tfmeta.learners import checks
from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.batch_step import BatchStep
from tfmeta.learners.engines import ENGINES, default_engine
from tfmeta.learners.episode import Episode, OuterStep, real_queries, restored_variable_scope
from tfmeta.learners.features import OnFeatures, are_features_given, given_features
from tfmeta.learners.one_pass import batch_step, features_of_all, takes_moments
from tfmeta.learners.passes import Moments, network_pass, query_source, support_source
from tfmeta.sizes import check_sizes

_LOGGER = logging.getLogger("tfmeta")


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
        engine: how the tasks of a batch are embedded. `"mapped"`: each by itself, side by side on
            the cores. `"vectorized"`: the examples of all tasks in one pass of the backbone, each
            task with batch statistics of its own, for accelerators; where a layer or padding does
            not allow it, mapped, with a line of the log that says why. `"auto"`: vectorized on an
            accelerator, else mapped; `active_engine` tells.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for an unbuilt backbone, outputs that are not vectors, or an unknown option.
    """

    network_argument = "backbone"
    nested_arguments: tuple[str, ...] = ("backbone",)

    def __init__(
        self,
        backbone: keras.Model,
        *,
        statistics: str = "running",
        engine: str = "auto",
        **kwargs: Any,
    ) -> None:
        checks.check_choice("engine", engine, ENGINES)
        super().__init__(backbone, statistics=statistics, **kwargs)
        self.engine = engine
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
        source = support_source(self.statistics, training=training)
        features, moments = self._features(x, source=source, training=training)
        # Training has a check of its own, which names the episode.
        features = features if training else _finite(features)
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
            logits, loss, moments = self._learn(episode)
        gradients = dense_gradients(tape, loss, self._trainable_tensors())
        return OuterStep(logits, loss, tuple(gradients), moments)

    def _learn(self, episode: Episode) -> tuple[tf.Tensor, tf.Tensor, Moments]:
        """Logits and loss of a training episode, and the moving statistics after it."""
        state = self.adapt(*episode.support, training=True)
        query_x = episode.inputs["query_x"]
        features, moments = self._query_features(state, query_x, training=True)
        logits = self.query_logits(state.head, features)
        return logits, self.training_loss(episode, state.head, features, logits), moments

    # ----- features that are computed once --------------------------------------------------

    def embed(self, examples: Any, *, batch_size: int = 256) -> Any:
        """Examples of features instead of pictures: one pass of the backbone over all of them.

        Args:
            examples: `tfmeta.data.Examples`.
            batch_size: examples of one call of the backbone.

        Returns:
            `Examples` with the same classes, names and groups in the same order, whose `x` is
            `[n, d]` (or `[n, height, width, d]`, where the backbone gives maps).

        Raises:
            ValueError: where features depend on the episode (batch normalisation under another
                `statistics` than `"running"`), or are not finite.

        Example:
            >>> backbone = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
            >>> learner = tfmeta.learners.PrototypicalNetwork(backbone)
            >>> learner.embed(examples)
            Examples(120 float32 examples of shape (784,), 6 classes)
        """
        check_sizes(batch_size=batch_size)
        self._check_cachable()

        @tf.function(autograph=False, reduce_retracing=True)
        def features_of(x: tf.Tensor) -> tf.Tensor:
            self.check_examples("examples", x)
            return self._features(self.network_input(x), source="moving")[0]

        rows = tf.range(len(examples), dtype="int64")
        parts = [rows[i : i + batch_size] for i in range(0, len(examples), batch_size)]
        features = tf.concat([features_of(examples.read(part)) for part in parts], axis=0)
        return type(examples)(
            _finite(features).numpy(),
            examples.y,
            class_names=examples.class_names,
            groups=examples.groups,
        )

    def on_features(self) -> OnFeatures:
        """This learner for episodes of features, as drawn from what `embed` returns.

        Returns:
            A callable from a batch of episodes to logits, which `evaluate_episodes` takes.

        Raises:
            ValueError: where features depend on the episode, see `embed`.

        Example:
            >>> backbone = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
            >>> learner = tfmeta.learners.PrototypicalNetwork(backbone)
            >>> features = learner.embed(examples)
            >>> episodes = tfmeta.data.episode_dataset(
            ...     features, n_way=5, n_shot=1, n_query=5, n_tasks=4, seed=0)
            >>> report = evaluate_episodes(learner.on_features(), episodes, n_episodes=8)
        """
        self._check_cachable()
        return OnFeatures(self)

    # ----- all tasks at once ----------------------------------------------------------------

    @property
    def active_engine(self) -> str:
        """The engine that `engine` comes to on this machine."""
        return default_engine() if self.engine == "auto" else self.engine

    def outer_steps(self, elements: Mapping[str, tf.Tensor]) -> BatchStep:
        if not self._is_vectorized(elements, training=True):
            return super().outer_steps(elements)
        n_way = self._batch_n_way(elements)
        elements = self._with_draws(elements)

        def learn(task: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            task = dict(task)
            with episode_draws(task.pop("draws")):
                episode, restore = real_queries(task)
                logits, loss, _ = self._learn(episode)
            return restore(self._pad_ways(logits, n_way)), loss

        spec = (self._output_spec(elements), tf.TensorSpec([], self.variable_dtype))
        with tf.GradientTape() as tape:
            features, moments = self._features_of_all(elements, training=True)
            with given_features(), restored_variable_scope():
                outputs, losses = tf.map_fn(learn, features, fn_output_signature=spec)
            loss = tf.reduce_mean(losses)
        gradients = dense_gradients(tape, loss, self._trainable_tensors())
        return batch_step(outputs, losses, gradients, moments)

    def _map(self, function, elements, spec):
        if self._is_vectorized(elements, training=False):
            elements, _ = self._features_of_all(elements, training=False)
            with given_features():
                return super()._map(function, elements, spec)
        return super()._map(function, elements, spec)

    def _is_vectorized(self, elements: Mapping[str, tf.Tensor], *, training: bool) -> bool:
        if are_features_given() or self.active_engine == "mapped":
            return False
        obstacles = layers_without_rule(self.backbone, ())
        if takes_moments(self.backbone, self.statistics, training=training):
            obstacles += [key for key in ("support_mask", "sample_weight") if key in elements]
        if obstacles:
            _LOGGER.warning("%s: mapped, not vectorized, because of %s.", self.name, obstacles)
        return not obstacles

    def _features_of_all(
        self, elements: Mapping[str, tf.Tensor], *, training: bool
    ) -> tuple[dict[str, tf.Tensor], Moments]:
        """The elements with features for examples, and the moving statistics of each task."""
        both = [self.network_input(elements[key]) for key in ("support_x", "query_x")]
        draws = elements["draws"][0] if training else tf.constant(0)
        with episode_draws(draws):
            *features, moments = features_of_all(
                self.backbone, *both, statistics=self.statistics, training=training
            )
        support, query = (tf.cast(x, self.variable_dtype) for x in features)
        gathered = moments if self.statistics == "running" else ()
        return {**elements, "support_x": support, "query_x": query}, gathered

    # ----- parts ----------------------------------------------------------------------------

    @property
    def transductive(self) -> bool:
        """Whether a query's prediction may depend on other queries."""
        return self.statistics == "transductive"

    @property
    def example_shape(self) -> tuple[int | None, ...]:
        shape = super().example_shape
        return tuple(self.backbone.output_shape[1:]) if are_features_given() else shape

    def network_input(self, x: tf.Tensor) -> tf.Tensor:
        if are_features_given():
            return tf.cast(x, self.variable_dtype)
        return super().network_input(x)

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
        if are_features_given():
            # The backbone's pass counts, so that what else draws, a head, draws the same.
            folded_seeds(self.backbone)
            return x, ()
        features, moments = network_pass(self.backbone, x, **options)
        return tf.cast(features, self.variable_dtype), moments

    def _check_features(self) -> None:
        """Refuses a backbone whose outputs the head does not take."""
        checks.check_vectors("backbone", self.backbone)

    def _check_cachable(self) -> None:
        if takes_moments(self.backbone, self.statistics, training=False):
            raise ValueError(
                "Features can be computed once only where they do not depend on the episode. "
                f"Received: statistics={self.statistics!r} and a backbone with batch "
                'normalisation. Use `statistics="running"`, or evaluate on examples.'
            )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "engine": self.engine}


def _finite(features: tf.Tensor) -> tf.Tensor:
    flat = tf.reshape(features, [tf.shape(features)[0], -1])
    ill = tf.where(~tf.reduce_all(tf.math.is_finite(flat), axis=1))
    return require(
        tf.equal(tf.size(ill), 0),
        "Features must be finite. Look at the examples, or at the weights of the backbone. "
        "Received: examples with other features, by number =",
        [ill[:16, 0]],
        features,
    )
