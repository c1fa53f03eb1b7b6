"""Evaluation over episodes: a mean with its confidence interval, and the protocol behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from tfmeta.controls import MeanPredictor, NearestCentroid, TfidfNearestCentroid
from tfmeta.data.hashing import EpisodeHash
from tfmeta.episode_batches import (
    Batch,
    Protocol,
    batches_of,
    check_outputs,
    outputs_of,
    statistics_of,
)
from tfmeta.errors import errors_as_value_errors
from tfmeta.intervals import check_confidence, mean_interval
from tfmeta.reports import EpisodeReport, PairedComparison, compare_reports
from tfmeta.typing import EpisodeBatch, EpisodeInputs, Tensor

__all__ = [
    "EpisodeReport",
    "MeanPredictor",
    "NearestCentroid",
    "PairedComparison",
    "TfidfNearestCentroid",
    "compare_reports",
    "evaluate_episodes",
]


def evaluate_episodes(
    learner: Callable[[EpisodeInputs], Tensor],
    episodes: Iterable[EpisodeBatch],
    *,
    n_episodes: int = 600,
    confidence: float = 0.95,
    name: str | None = None,
) -> EpisodeReport:
    """A report of a learner over episodes: mean, interval, result of each, protocol and hash.

    The result of an episode is the share of its queries that are classified rightly, for integer
    `query_y`, or the mean squared error over its queries, for floats; queries are weighted by
    `sample_weight`, and a weight of 0 leaves a query out. The interval is Student's, over episodes.

    Args:
        learner: a callable from the inputs of a batch of episodes to logits
            `[tasks, query, n_way]` or values `[tasks, query, d]`. It runs inside one
            `tf.function`. Its attribute `transductive` (bool), or else `statistics`, says which
            kind of result it is; a callable that has neither counts as inductive.
        episodes: batches `(inputs, query_y)` or `(inputs, query_y, sample_weight)`, for example
            `tfmeta.data.load_episodes(...)`.
        n_episodes: how many of the episodes are used, from the first one.
        confidence: of the interval.
        name: what the report calls the learner; its `name` if not given.

    Returns:
        The report.

    Raises:
        ValueError: for too few episodes, labels or outputs of a shape that does not fit, outputs
            that are not finite (the episode is named), or an episode without a query.

    Example:
        >>> inputs = {
        ...     "support_x": tf.constant([[[0.0], [1.0]]] * 4),
        ...     "support_y": tf.constant([[0, 1]] * 4),
        ...     "query_x": tf.constant([[[0.1], [0.9]]] * 4),
        ... }
        >>> batch = (inputs, tf.constant([[0, 1]] * 4))
        >>> print(evaluate_episodes(NearestCentroid(), [batch], n_episodes=4))
        100.00 % ± 0.00 (95 % CI, 4 episodes, inductive)
    """
    check_confidence(confidence)
    if n_episodes < 2:
        raise ValueError(
            "`n_episodes` must be at least 2, because one episode has no interval. "
            f"Received: n_episodes={n_episodes}."
        )
    kind = statistics_of(learner)
    predict = tf.function(lambda inputs: learner(inputs), autograph=False, reduce_retracing=True)
    episode_hash, protocol, results = EpisodeHash(), Protocol(), []
    with errors_as_value_errors():
        for batch in batches_of(episodes, n_episodes):
            outputs = outputs_of(predict, batch, alone=kind == "transductive")
            check_outputs(outputs, batch)
            results.append(_results(outputs, batch))
            episode_hash.update(batch.inputs, batch.query_y)
            protocol.update(batch)
    per_episode = np.concatenate(results)
    mean, ci = mean_interval(per_episode, confidence)
    return EpisodeReport(
        mean=mean,
        ci=ci,
        n_episodes=n_episodes,
        per_episode=per_episode,
        metric="accuracy" if batch.has_classes else "mse",
        statistics=kind,
        episode_hash=episode_hash.hexdigest(),
        confidence=confidence,
        name=name if name is not None else getattr(learner, "name", None),
        protocol=protocol.describe(),
    )


def _results(outputs: np.ndarray, batch: Batch) -> np.ndarray:
    """`[tasks]`: weighted mean over the queries of each episode."""
    if batch.has_classes:
        of_queries = (outputs.argmax(axis=-1) == batch.query_y).astype(np.float64)
    else:
        of_queries = np.mean((outputs.astype(np.float64) - batch.query_y) ** 2, axis=-1)
    of_queries = np.where(batch.weight > 0, of_queries, 0.0)
    return (batch.weight * of_queries).sum(axis=1) / batch.weight.sum(axis=1)
