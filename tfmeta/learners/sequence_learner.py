"""Memory networks as learners: an episode is read as a stream (Santoro et al. 2016)."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.learners import checks
from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.passes import Moments, network_pass, query_source, support_source
from tfmeta.learners.stream_classifier import StreamClassifier
from tfmeta.learners.streams import is_cell, labels_one_late, read_stream, read_with_cell
from tfmeta.sizes import check_sizes
from tfmeta.typing import State

# The order of a support set is a pseudo-random function of its examples: far more than one turn
# between two that differ at all.
_TURNS = 1000.0


class ReadSupport(NamedTuple):
    """What a support set leaves: the core's state, the last label, normalisation statistics."""

    core: State
    last_label: tf.Tensor
    moments: Moments


@keras.saving.register_keras_serializable("tfmeta")
class SequenceLearner(EpisodicLearner):
    """Reads the support as a stream of examples and labels, and answers a query as its next step.

    The stream is `(x_1, 0), (x_2, y_1), ..., (x_t, y_{t-1})`: a label comes one step after its
    example, so that it must be bound to what was seen before (Santoro et al. 2016, "Meta-Learning
    with Memory-Augmented Neural Networks", section 2). The core is a recurrent cell
    (`tfmeta.models.memory.MANN`, `DNC`, or any of Keras', such as `LSTMCell`) or a causal network
    over the stream (`SNAIL`). `adapt` is reading: nothing is trained where it is used.

    Every query is one more step from the state after the support, so that queries do not depend
    on each other. The support is read in an order that is a pseudo-random function of its
    examples, so that the result depends on the set alone; what is masked out is not read.

    `on_streams` gives the paper's protocol, which has no queries: a prediction at every step.

    Args:
        backbone: a built Keras model from an example to a feature vector; `Flatten` for the
            paper's raw pixels.
        core: what reads the features with the labels. It belongs to this learner.
        n_way: width of the one-hot labels and of the logits.
        statistics: `"running"`, `"support"` or `"transductive"`, see `EpisodicLearner`.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for an unbuilt backbone, outputs that are not vectors, a core of another dtype
            or built for other features, or an `n_way` that is not positive.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Flatten()])
        >>> core = tfmeta.models.memory.MANN(8, n_slots=6, slot_width=4, n_heads=1)
        >>> learner = SequenceLearner(backbone, core, n_way=2)
        >>> state = learner.adapt(tf.constant([[0.0, 1.0], [1.0, 0.0]]), tf.constant([0, 1]))
        >>> learner.predict_query(state, tf.constant([[0.0, 1.0]])).shape
        TensorShape([1, 2])
    """

    network_argument = "backbone"
    nested_arguments = ("backbone", "core")

    def __init__(
        self,
        backbone: keras.Model,
        core: keras.Layer,
        *,
        n_way: int,
        statistics: str = "running",
        **kwargs: Any,
    ) -> None:
        check_sizes(n_way=n_way)
        # The base class asks for the number of outputs.
        self.n_way = n_way
        super().__init__(backbone, statistics=statistics, **kwargs)
        checks.check_vectors("backbone", backbone)
        self._check_core(core)
        self.core = core
        n_features = backbone.output_shape[-1] + n_way
        if not core.built:
            core.build((None, n_features) if is_cell(core) else (None, None, n_features))
        self.head = keras.layers.Dense(n_way, dtype=self.variable_dtype, name="head")
        self.head.build((None, core.output_size))

    # ----- for one episode ------------------------------------------------------------------

    def adapt(self, support_x, support_y, support_mask=None, *, training=False) -> ReadSupport:
        x, y = self.support_examples(support_x, support_y, support_mask)
        if not y.dtype.is_integer:
            raise ValueError(
                "`SequenceLearner` classifies: `support_y` must be class numbers [support]. "
                f"Received: targets of shape {y.shape}. Use `MAML` for regression."
            )
        y = checks.assert_labels("support_y", y, self.n_way)
        order = stream_order(x)
        x, y = tf.gather(x, order), tf.gather(y, order)
        source = support_source(self.statistics, training=training)
        features, moments = network_pass(self.backbone, x, source=source, training=training)
        labels = labels_one_late(y, self.n_way, self.variable_dtype)
        _, state = read_stream(self.core, self._joined(features, labels)[tf.newaxis])
        last = tf.one_hot(y[-1:], self.n_way, dtype=self.variable_dtype)
        keeps = self.statistics == "support" or (self.statistics == "running" and training)
        return ReadSupport(state, last, moments if keeps else ())

    def query_pass(self, state, query_x, *, training):
        source = query_source(self.statistics, training=training)
        features, moments = network_pass(
            self.backbone,
            self.network_input(query_x),
            source=source,
            moments=state.moments,
            training=training,
        )
        n_query = tf.shape(features)[0]

        def for_each(x: tf.Tensor) -> tf.Tensor:
            return tf.repeat(x, n_query, axis=0)

        stream = self._joined(features, for_each(state.last_label))[:, tf.newaxis]
        core_state = tf.nest.map_structure(for_each, state.core)
        outputs, _ = read_stream(self.core, stream, core_state)
        return self.head(outputs[:, 0]), moments if self.statistics == "running" else ()

    def predict_query(self, state, query_x):
        self.check_examples("query_x", query_x)
        return self.query_pass(state, query_x, training=False)[0]

    # ----- for streams without queries ------------------------------------------------------

    def stream_logits(
        self, stream_x: tf.Tensor, stream_y: tf.Tensor, *, training: bool = False
    ) -> tf.Tensor:
        """Logits of the example of every step, from that step and those before.

        Args:
            stream_x: `[streams, steps, ...]`.
            stream_y: `[streams, steps]` class numbers, which the core sees one step late.
            training: whether normalisation and dropout train.

        Returns:
            `[streams, steps, n_way]`.

        Raises:
            ValueError: for labels outside `0 ... n_way - 1`.
        """
        features = self.stream_features(stream_x, stream_y, training=training)
        outputs, _ = read_stream(self.core, features)
        return self.head(outputs)

    def stream_features(
        self, stream_x: tf.Tensor, stream_y: tf.Tensor, *, training: bool = False
    ) -> tf.Tensor:
        """What the core reads: features of all examples, in one pass, and the labels one late.

        Args:
            stream_x: `[streams, steps, ...]`.
            stream_y: `[streams, steps]` class numbers.
            training: whether normalisation and dropout train.

        Returns:
            `[streams, steps, features + n_way]`.
        """
        stream_x = tf.convert_to_tensor(stream_x)
        stream_y = checks.assert_labels("stream_y", tf.cast(stream_y, "int32"), self.n_way)
        labels = labels_one_late(stream_y, self.n_way, self.variable_dtype)
        flat = tf.reshape(stream_x, tf.concat([[-1], tf.shape(stream_x)[2:]], axis=0))
        flat = self.network_input(tf.ensure_shape(flat, [None, *stream_x.shape[2:]]))
        features = self.backbone(flat, training=training)
        shape = tf.concat([tf.shape(stream_y), [self.backbone.output_shape[-1]]], axis=0)
        return self._joined(tf.reshape(features, shape), labels)

    def trace(self, stream_x: tf.Tensor, stream_y: tf.Tensor) -> Any:
        """What a core with a memory does at every step of streams, for plots.

        Args:
            stream_x: `[streams, steps, ...]`.
            stream_y: `[streams, steps]` class numbers.

        Returns:
            A named tuple of `read_weights` `[streams, steps, heads, slots]`, `write_weights`
            `[streams, steps, heads, slots]` and `gates` `[streams, steps, 3 units]`: input, forget
            and output gates.

        Raises:
            ValueError: for a core without a memory.

        Example:
            >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Flatten()])
            >>> core = tfmeta.models.memory.MANN(8, n_slots=6, slot_width=4, n_heads=1)
            >>> learner = SequenceLearner(backbone, core, n_way=2)
            >>> learner.trace(tf.zeros([1, 5, 2]), tf.zeros([1, 5], "int32")).read_weights.shape
            TensorShape([1, 5, 1, 6])
        """
        if not hasattr(self.core, "step"):
            raise ValueError(
                "`trace` needs a core with a memory, such as `tfmeta.models.memory.MANN`. "
                f"Received: {type(self.core).__name__}."
            )
        features = self.stream_features(stream_x, stream_y)
        return read_with_cell(self.core, features, traced=True)[2]

    def on_streams(self) -> StreamClassifier:
        """This learner as a Keras model that predicts at every step of a stream.

        It shares all weights: train it on `tfmeta.data.stream_dataset`, and use the learner.

        Returns:
            A `StreamClassifier`.

        Example:
            >>> backbone = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
            >>> learner = SequenceLearner(backbone, keras.layers.LSTMCell(4), n_way=3)
            >>> streams = tfmeta.data.stream_dataset(
            ...     examples, n_way=3, n_presentations=2, n_tasks=2)
            >>> model = learner.on_streams()
            >>> model.compile("adam")
            >>> _ = model.fit(streams, steps_per_epoch=1, verbose=0)
        """
        return StreamClassifier(self)

    # ----- parts ----------------------------------------------------------------------------

    @property
    def n_outputs(self) -> int:
        return self.n_way

    @property
    def transductive(self) -> bool:
        """Whether a query's prediction may depend on other queries."""
        return self.statistics == "transductive"

    def _joined(self, features: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return tf.concat([tf.cast(features, self.variable_dtype), labels], axis=-1)

    def _check_core(self, core: Any) -> None:
        if not isinstance(core, keras.Layer):
            raise ValueError(
                "`core` must be a Keras RNN cell or a causal layer, for example "
                f"`tfmeta.models.memory.MANN()`. Received: core={core!r}."
            )
        if core.variable_dtype != self.variable_dtype:
            raise ValueError(
                f"`core` must have the dtype of the backbone ({self.variable_dtype}). Received: "
                f"{core.variable_dtype}. Build it with `dtype={self.variable_dtype!r}`."
            )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_way": self.n_way}


def stream_order(x: tf.Tensor) -> tf.Tensor:
    """The order in which examples are read: pseudo-random, and a function of the set alone.

    The examples are sorted by the fraction of a large multiple of a projection of theirs.

    Args:
        x: `[n, ...]`.

    Returns:
        `[n]` int32, a permutation.

    Example:
        >>> x = tf.constant([[0.1], [0.7], [0.4]])
        >>> in_order = tf.gather(x, stream_order(x))
        >>> turned = tf.reverse(x, [0])
        >>> bool(tf.reduce_all(in_order == tf.gather(turned, stream_order(turned))))
        True
    """
    if x.dtype == tf.string:
        keys = tf.strings.to_hash_bucket_fast(tf.reshape(x, [tf.shape(x)[0]]), 2**62)
        return tf.argsort(keys, stable=True)
    flat = tf.cast(tf.reshape(x, [tf.shape(x)[0], -1]), "float64")
    direction = tf.cos(tf.cast(tf.range(tf.shape(flat)[1]), "float64"))
    turns = _TURNS * tf.linalg.matvec(flat, direction)
    return tf.argsort(turns - tf.floor(turns), stable=True)
