"""Queries of no known class: a threshold calibrated on episodes, and how well it works."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfmeta.data.hashing import EpisodeHash
from tfmeta.episode_batches import (
    UNKNOWN,
    Protocol,
    batches_of,
    check_outputs,
    outputs_of,
    statistics_of,
)
from tfmeta.errors import errors_as_value_errors
from tfmeta.functional import (
    auroc,
    binned_calibration_error,
    calibration_bins,
    negative_log_likelihood,
)
from tfmeta.intervals import check_confidence, mean_interval
from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.rejection import Rejection, classified
from tfmeta.open_set_report import OpenSetReport
from tfmeta.typing import EpisodeBatch, EpisodeInputs, Tensor


def calibrate_rejection(
    learner: EpisodicLearner,
    episodes: Iterable[EpisodeBatch],
    *,
    n_episodes: int = 600,
    known_kept: float | None = 0.95,
    score: str = "max_logit",
) -> Rejection:
    """The threshold below which the learner takes a query for unknown; set on the learner, too.

    With `known_kept`, the largest threshold that at least this share of the known queries of all
    episodes reaches; unknown queries have no part in it. With `known_kept=None`, the threshold at
    which the share of known queries kept plus the share of unknown ones rejected is largest
    (Youden 1950, "Index for rating diagnostic tests").

    Calibrate on validation episodes, of as many ways and shots as will be served: both move the
    scores.

    Args:
        learner: whose `rejection` is set.
        episodes: batches `(inputs, query_y)` or `(inputs, query_y, sample_weight)`; the label -1
            marks an unknown query, a weight of 0 leaves a query out.
        n_episodes: how many of the episodes are used, from the first one.
        known_kept: a share between 0 and 1, or None.
        score: `"max_logit"` (for prototypes, minus the distance to the nearest) or
            `"max_probability"`, which does not see how far a query is from all classes.

    Returns:
        The `Rejection`, with the shares of known queries kept and unknown ones rejected here.

    Raises:
        ValueError: for a share out of range, or episodes without known queries, or without unknown
            ones where `known_kept` is None.

    Example:
        >>> backbone = keras.Sequential([keras.Input((1,)), keras.layers.Rescaling(1.0)])
        >>> learner = tfmeta.learners.PrototypicalNetwork(backbone)
        >>> inputs = {
        ...     "support_x": tf.constant([[[0.0], [9.0]]] * 2),
        ...     "support_y": tf.constant([[0, 1]] * 2),
        ...     "query_x": tf.constant([[[1.0], [8.0], [5.0]]] * 2),
        ... }
        >>> batch = (inputs, tf.constant([[0, 1, -1]] * 2))
        >>> rejection = calibrate_rejection(learner, [batch], n_episodes=2)
        >>> rejection.threshold, rejection.unknown_rejected
        (-1.0, 1.0)
    """
    if not isinstance(learner, EpisodicLearner):
        raise ValueError(f"`learner` must be a tfmeta learner. Received: learner={learner!r}")
    if known_kept is not None and not 0 < known_kept <= 1:
        raise ValueError(
            "`known_kept` must be a share above 0 and at most 1, or None. "
            f"Received: known_kept={known_kept}."
        )
    anything = Rejection(threshold=-math.inf, score=score)
    episode_hash, parts = EpisodeHash(), []
    for episode in _episodes(learner, episodes, n_episodes, episode_hash, Protocol()):
        scores = np.asarray(anything.scores(tf.constant(episode.logits)))
        parts.append((scores[episode.is_known], scores[~episode.is_known]))
    known, unknown = (np.concatenate(scores) for scores in zip(*parts, strict=True))
    _check_queries(known, unknown, known_kept)
    threshold = _best(known, unknown) if known_kept is None else _quantile(known, known_kept)
    learner.rejection = Rejection(
        threshold=threshold,
        score=score,
        known_kept=float(np.mean(known >= threshold)),
        unknown_rejected=float(np.mean(unknown < threshold)) if len(unknown) else None,
        n_episodes=n_episodes,
        episode_hash=episode_hash.hexdigest(),
    )
    return learner.rejection


def evaluate_open_set(
    learner: Callable[[EpisodeInputs], Tensor],
    episodes: Iterable[EpisodeBatch],
    *,
    rejection: Rejection | None = None,
    n_episodes: int = 600,
    n_bins: int = 15,
    confidence: float = 0.95,
    name: str | None = None,
) -> OpenSetReport:
    """A report of how a learner tells unknown queries from known ones, and of its calibration.

    Args:
        learner: a callable from the inputs of a batch of episodes to logits
            `[tasks, query, n_way]`.
        episodes: batches `(inputs, query_y)` or `(inputs, query_y, sample_weight)` in which
            `query_y` is -1 for unknown queries; every episode needs both kinds. A weight of 0
            leaves a query out, and other weights do not count.
        rejection: the threshold; None for the learner's own.
        n_episodes: how many of the episodes are used, from the first one.
        n_bins: of the calibration error.
        confidence: of the intervals.
        name: what the report calls the learner; its `name` if not given.

    Returns:
        The report.

    Raises:
        ValueError: without a rejection, for an episode without known or without unknown queries,
            and where `evaluate_episodes` raises one.

    Example:
        >>> backbone = keras.Sequential([keras.Input((1,)), keras.layers.Rescaling(1.0)])
        >>> learner = tfmeta.learners.PrototypicalNetwork(backbone)
        >>> inputs = {
        ...     "support_x": tf.constant([[[0.0], [9.0]]] * 2),
        ...     "support_y": tf.constant([[0, 1]] * 2),
        ...     "query_x": tf.constant([[[1.0], [8.0], [5.0]]] * 2),
        ... }
        >>> batch = (inputs, tf.constant([[0, 1, -1]] * 2))
        >>> rejection = tfmeta.Rejection(threshold=-1.0)
        >>> report = evaluate_open_set(learner, [batch], rejection=rejection, n_episodes=2)
        >>> report.mean["auroc"], report.mean["accuracy"]
        (1.0, 1.0)
    """
    check_confidence(confidence)
    rejection = getattr(learner, "rejection", None) if rejection is None else rejection
    if rejection is None:
        raise ValueError(
            "`evaluate_open_set` needs a threshold. Received: a learner without `rejection`. Call "
            "`tfmeta.calibrate_rejection(learner, validation_episodes)` first."
        )
    if n_episodes < 2:
        raise ValueError(
            "`n_episodes` must be at least 2, because one episode has no interval. "
            f"Received: n_episodes={n_episodes}."
        )
    episode_hash, protocol, measured, bins = EpisodeHash(), Protocol(), [], []
    for episode in _episodes(learner, episodes, n_episodes, episode_hash, protocol):
        measures, of_bins = _measures(episode, rejection, n_bins)
        measured.append(measures)
        bins.append(of_bins)
    per_episode = {key: np.array([m[key] for m in measured]) for key in measured[0]}
    intervals = {key: mean_interval(x, confidence) for key, x in per_episode.items()}
    return OpenSetReport(
        mean={key: mean for key, (mean, _) in intervals.items()},
        ci={key: ci for key, (_, ci) in intervals.items()},
        per_episode=per_episode,
        pooled_ece=float(binned_calibration_error(*(sum(x) for x in zip(*bins, strict=True)))),
        rejection=rejection.get_config(),
        n_episodes=n_episodes,
        statistics=statistics_of(learner),
        episode_hash=episode_hash.hexdigest(),
        n_bins=n_bins,
        confidence=confidence,
        name=name if name is not None else getattr(learner, "name", None),
        protocol=protocol.describe(),
    )


class _Episode(NamedTuple):
    """The counted queries of one episode: logits `[query, n_way]`, labels `[query]`, number."""

    logits: np.ndarray
    labels: np.ndarray
    number: int

    @property
    def is_known(self) -> np.ndarray:
        return self.labels != UNKNOWN


def _episodes(
    learner: Callable, episodes: Iterable, n_episodes: int, running: EpisodeHash, protocol: Protocol
) -> Iterator[_Episode]:
    kind = statistics_of(learner)
    predict = tf.function(lambda inputs: learner(inputs), autograph=False, reduce_retracing=True)
    with errors_as_value_errors():
        for batch in batches_of(episodes, n_episodes):
            if not batch.has_classes:
                raise ValueError(
                    "`query_y` must be class numbers, -1 for an unknown query. Received: "
                    f"{batch.query_y.dtype}. A regression has no unknown class."
                )
            outputs = outputs_of(predict, batch, alone=kind == "transductive")
            check_outputs(outputs, batch, allow_unknown=True)
            running.update(batch.inputs, batch.query_y)
            protocol.update(batch)
            for task, counted in enumerate(batch.weight > 0):
                labels = batch.query_y[task][counted]
                yield _Episode(outputs[task][counted], labels, int(batch.numbers[task]))


def _measures(
    episode: _Episode, rejection: Rejection, n_bins: int
) -> tuple[dict[str, float], tuple[np.ndarray, ...]]:
    is_known = episode.is_known
    if is_known.all() or not is_known.any():
        raise ValueError(
            "Every episode must have known and unknown queries (`query_y` of -1). Received: "
            f"episode {episode.number} with {is_known.sum()} known and {(~is_known).sum()} "
            "unknown ones."
        )
    logits = tf.constant(episode.logits)
    label, score, probabilities = (np.asarray(x) for x in classified(logits, rejection))
    known_logits = tf.constant(episode.logits[is_known], tf.float64)
    labels = tf.constant(episode.labels[is_known])
    bins = calibration_bins(labels, tf.constant(probabilities[is_known]), n_bins=n_bins)
    right = label == episode.labels
    measures = {
        "auroc": auroc(score[is_known], score[~is_known]),
        "accuracy": right.mean(),
        "known_kept": np.mean(label[is_known] != UNKNOWN),
        "known_accuracy": right[is_known].mean(),
        "unknown_rejected": right[~is_known].mean(),
        "ece": binned_calibration_error(*bins),
        "nll": negative_log_likelihood(labels, known_logits),
    }
    return {key: float(x) for key, x in measures.items()}, tuple(np.asarray(x) for x in bins)


def _check_queries(known: np.ndarray, unknown: np.ndarray, known_kept: float | None) -> None:
    if not len(known):
        raise ValueError("`episodes` must have known queries. Received: only labels of -1.")
    if known_kept is None and not len(unknown):
        raise ValueError(
            "`known_kept=None` needs unknown queries (`query_y` of -1). Received: none. Give a "
            "share, for example `known_kept=0.95`."
        )


def _quantile(known: np.ndarray, known_kept: float) -> float:
    """The largest threshold that at least a share of the scores reaches."""
    # Rounding must not ask for one score more: 0.95 * 20 is 19.
    n_kept = math.ceil(known_kept * len(known) - 1e-9)
    return float(np.sort(known)[::-1][n_kept - 1])


def _best(known: np.ndarray, unknown: np.ndarray) -> float:
    """The known score at which kept plus rejected is largest; the lowest of several."""
    candidates = np.unique(known)
    lost = np.searchsorted(np.sort(known), candidates, side="left") / len(known)
    rejected = np.searchsorted(np.sort(unknown), candidates, side="left") / len(unknown)
    return float(candidates[np.argmax(rejected - lost)])
