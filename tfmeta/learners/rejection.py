"""Queries of no known class: the threshold of a learner, and what it says of a query."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

from tfmeta.functional import KNOWN_SCORES
from tfmeta.learners import checks

UNKNOWN = -1


class Classified(NamedTuple):
    """What a learner says of queries.

    `label [query]` int32, -1 for a query of no known class; `score [query]`, larger for queries
    that look like a known class; `probabilities [query, n_way]` of the known classes.
    """

    label: tf.Tensor
    score: tf.Tensor
    probabilities: tf.Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rejection:
    """A threshold below which a query counts as unknown, and how it was found.

    Attributes:
        threshold: a query with a lower score is unknown.
        score: `"max_logit"` (for prototypes, minus the distance to the nearest) or
            `"max_probability"`.
        known_kept: share of the known queries that reached the threshold where it was calibrated.
        unknown_rejected: share of the unknown queries below it; None where there were none.
        n_episodes: of the calibration.
        episode_hash: of the calibration.

    Example:
        >>> rejection = Rejection(threshold=0.9, score="max_probability")
        >>> rejection.known(tf.constant([[9.0, 0.0], [0.1, 0.1]])).numpy()
        array([ True, False])
    """

    threshold: float
    score: str = "max_logit"
    known_kept: float | None = None
    unknown_rejected: float | None = None
    n_episodes: int | None = None
    episode_hash: str | None = None

    def __post_init__(self) -> None:
        checks.check_choice("score", self.score, tuple(KNOWN_SCORES))

    def scores(self, logits: tf.Tensor) -> tf.Tensor:
        """Scores `[...]` of queries with logits `[..., n_way]`."""
        return KNOWN_SCORES[self.score](logits)

    def known(self, logits: tf.Tensor) -> tf.Tensor:
        """Whether queries with logits `[..., n_way]` are of a known class, `[...]` bool."""
        scores = self.scores(logits)
        return scores >= tf.cast(self.threshold, scores.dtype)

    def get_config(self) -> dict[str, Any]:
        """The attributes, from which `Rejection(**config)` makes an equal one."""
        return dataclasses.asdict(self)


class OpenSetClassifier:
    """What a learner with a `Rejection` can say: that a query is of no known class."""

    _rejection: Rejection | None = None

    @property
    def rejection(self) -> Rejection | None:
        """The threshold for unknown queries, or None; saved and exported with the learner.

        `tfmeta.calibrate_rejection` finds one.
        """
        return self._rejection

    @rejection.setter
    def rejection(self, rejection: Rejection | None) -> None:
        if not isinstance(rejection, Rejection | None):
            raise ValueError(
                "`rejection` must be a `Rejection` or None. "
                f"Received: rejection={rejection!r}. `tfmeta.calibrate_rejection` makes one."
            )
        self._rejection = rejection

    def classify(self: Any, state: Any, query_x: tf.Tensor) -> Classified:
        """Labels of queries under an adapted state, -1 where the learner's rejection says unknown.

        Args:
            state: what `adapt` returned.
            query_x: `[query, ...]`.

        Returns:
            A `Classified`. Without a rejection every query is known and the score is the largest
            logit.

        Example:
            >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(1.0)])
            >>> learner = tfmeta.learners.PrototypicalNetwork(backbone)
            >>> learner.rejection = Rejection(threshold=-4.0)  # at most a distance of 2
            >>> state = learner.adapt(tf.eye(2), tf.constant([0, 1]))
            >>> learner.classify(state, tf.constant([[0.0, 1.0], [7.0, 7.0]])).label.numpy()
            array([ 1, -1], dtype=int32)
        """
        return classified(self.predict_query(state, query_x), self.rejection)


def classified(logits: tf.Tensor, rejection: Rejection | None) -> Classified:
    """What logits come to under a rejection.

    Args:
        logits: `[query, n_way]`.
        rejection: the threshold, or None to take every query for known.

    Returns:
        A `Classified`.

    Example:
        >>> classified(tf.constant([[0.0, 2.0]]), Rejection(threshold=3.0)).label.numpy()
        array([-1], dtype=int32)
    """
    label = tf.argmax(logits, axis=-1, output_type=tf.int32)
    if rejection is None:
        return Classified(label, KNOWN_SCORES["max_logit"](logits), tf.nn.softmax(logits))
    label = tf.where(rejection.known(logits), label, UNKNOWN)
    return Classified(label, rejection.scores(logits), tf.nn.softmax(logits))
