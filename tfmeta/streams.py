"""Evaluation on streams: accuracy by how often a class was seen, with intervals."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tfmeta.data.counts import check_counts
from tfmeta.errors import errors_as_value_errors
from tfmeta.functional import accuracy_by_instance
from tfmeta.intervals import mean_interval
from tfmeta.learners.sequence_learner import SequenceLearner


@dataclasses.dataclass(frozen=True)
class StreamReport:
    """Accuracy of a learner on the 1st, 2nd, ... instances of the classes of streams.

    Attributes:
        per_stream: `[streams, instances]`, the accuracy of each stream.
        name: of the learner.
        confidence: of the intervals, over streams.

    Example:
        >>> report = StreamReport(np.array([[0.2, 0.8], [0.4, 1.0]]), "mann")
        >>> report.interval(2)[0]
        0.9
    """

    per_stream: np.ndarray
    name: str
    confidence: float = 0.95

    @property
    def n_streams(self) -> int:
        """How many streams were read."""
        return len(self.per_stream)

    @property
    def n_instances(self) -> int:
        """Up to which instance of a class the report goes."""
        return self.per_stream.shape[1]

    def interval(self, instance: int) -> tuple[float, float]:
        """Mean accuracy on an instance, counted from 1, and the half width of its interval.

        Args:
            instance: 1 for the first presentation of a class.

        Returns:
            `(mean, half_width)`.

        Raises:
            ValueError: for an instance that the report does not have.
        """
        if not 1 <= instance <= self.n_instances:
            raise ValueError(
                f"`instance` must lie in 1 ... {self.n_instances}. Received: instance={instance}."
            )
        return mean_interval(self.per_stream[:, instance - 1], self.confidence)

    def __str__(self) -> str:
        shares = (self.interval(k) for k in range(1, self.n_instances + 1))
        cells = (f"{k}: {100 * m:.1f} ± {100 * w:.1f}" for k, (m, w) in enumerate(shares, start=1))
        kind = f"{100 * self.confidence:g} % CI, {self.n_streams} streams"
        return f"accuracy by instance in %, {', '.join(cells)} ({kind})"


def evaluate_streams(
    learner: SequenceLearner,
    streams: tf.data.Dataset,
    *,
    n_instances: int = 10,
    confidence: float = 0.95,
) -> StreamReport:
    """The accuracy of a learner by how often a class was seen before.

    Args:
        learner: a `SequenceLearner`.
        streams: a finite dataset of `tfmeta.data.stream_dataset`.
        n_instances: how many presentations of a class are counted.
        confidence: of the intervals.

    Returns:
        A `StreamReport`.

    Raises:
        ValueError: for an infinite dataset, bad streams, or classes that come less often.

    Example:
        >>> backbone = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
        >>> learner = tfmeta.learners.SequenceLearner(
        ...     backbone, keras.layers.LSTMCell(4), n_way=3)
        >>> streams = tfmeta.data.stream_dataset(
        ...     examples, n_way=3, n_presentations=2, n_episodes=4)
        >>> evaluate_streams(learner, streams, n_instances=2).per_stream.shape
        (4, 2)
    """
    check_counts(n_instances=n_instances)
    if streams.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("`streams` must end: pass `n_episodes` to `stream_dataset`.")
    model = learner.on_streams()

    @tf.function(reduce_retracing=True, autograph=False)
    def accuracies(inputs: Any, y: tf.Tensor) -> tf.Tensor:
        return accuracy_by_instance(y, model(inputs), n_instances)

    with errors_as_value_errors():
        rows = np.concatenate([accuracies(inputs, y).numpy() for inputs, y in streams])
    if np.isnan(rows).any():
        raise ValueError(
            f"Every class must come `n_instances` times in every stream. Received: {n_instances}. "
            "Lower `n_instances`, or raise `n_presentations` of the streams."
        )
    return StreamReport(rows, learner.name, confidence)
