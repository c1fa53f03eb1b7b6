"""Evaluation over episodes: a mean with its confidence interval, and the protocol behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfmeta.controls import MeanPredictor, NearestCentroid
from tfmeta.data.hashing import EpisodeHash
from tfmeta.errors import errors_as_value_errors
from tfmeta.intervals import check_confidence, mean_interval
from tfmeta.reports import EpisodeReport, PairedComparison, compare_reports
from tfmeta.typing import EpisodeBatch, EpisodeInputs, Tensor

__all__ = [
    "EpisodeReport",
    "MeanPredictor",
    "NearestCentroid",
    "PairedComparison",
    "compare_reports",
    "evaluate_episodes",
]


class _Batch(NamedTuple):
    """One batch of episodes: tensors for the learner, arrays for the scores."""

    inputs: dict[str, Tensor]
    query_y: np.ndarray
    weight: np.ndarray
    numbers: np.ndarray

    def first(self, count: int) -> _Batch:
        inputs = {key: value[:count] for key, value in self.inputs.items()}
        return _Batch(inputs, self.query_y[:count], self.weight[:count], self.numbers[:count])


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
    kind = _kind(learner)
    predict = tf.function(lambda inputs: learner(inputs), autograph=False, reduce_retracing=True)
    episode_hash, protocol, results = EpisodeHash(), _Protocol(), []
    with errors_as_value_errors():
        for batch in _batches(episodes, n_episodes):
            outputs = _outputs(predict, batch, alone=kind == "transductive")
            _check_outputs(outputs, batch)
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
        metric="accuracy" if _has_classes(batch) else "mse",
        statistics=kind,
        episode_hash=episode_hash.hexdigest(),
        confidence=confidence,
        name=name if name is not None else getattr(learner, "name", None),
        protocol=protocol.describe(),
    )


def _kind(learner: Any) -> str:
    transductive = getattr(learner, "transductive", None)
    if transductive is None:
        transductive = getattr(learner, "statistics", None) == "transductive"
    return "transductive" if transductive else "inductive"


def _has_classes(batch: _Batch) -> bool:
    return bool(np.issubdtype(batch.query_y.dtype, np.integer))


def _batches(episodes: Iterable[EpisodeBatch], n_episodes: int) -> Iterator[_Batch]:
    """Batches with exactly `n_episodes` episodes in all; the last one is cut."""
    seen = 0
    for element in episodes:
        batch = _unpack(element, seen)
        batch = batch.first(n_episodes - seen)
        yield batch
        seen += len(batch.query_y)
        if seen == n_episodes:
            return
    raise ValueError(
        f"`episodes` must hold at least n_episodes={n_episodes} episodes. Received: {seen}. "
        "Make more episodes, or lower `n_episodes`."
    )


def _unpack(element: Any, seen: int) -> _Batch:
    if not isinstance(element, (tuple, list)) or len(element) not in (2, 3):
        raise ValueError(
            "`episodes` must give pairs (inputs, query_y) or triples with sample_weight. "
            f"Received: {type(element).__name__}. `tfmeta.data.episode_dataset` gives such pairs."
        )
    inputs = {
        key: tf.convert_to_tensor(value) for key, value in element[0].items() if value is not None
    }
    query_y = np.asarray(element[1])
    weight = element[2] if len(element) == 3 else None
    weight = np.ones(query_y.shape[:2]) if weight is None else np.asarray(weight, np.float64)
    numbers = inputs.get("episode", np.arange(seen, seen + len(query_y)))
    batch = _Batch(inputs, query_y, weight, np.asarray(numbers))
    _check_weight(batch)
    return batch


def _check_weight(batch: _Batch) -> None:
    if batch.weight.shape != batch.query_y.shape[:2]:
        raise ValueError(
            f"`sample_weight` must have the shape [tasks, query] = {batch.query_y.shape[:2]}. "
            f"Received: {batch.weight.shape}."
        )
    empty = np.flatnonzero(batch.weight.sum(axis=1) <= 0)
    if empty.size:
        raise ValueError(
            "Every episode must have a query of positive weight. Received: episode "
            f"{batch.numbers[empty[0]]} with none. Leave the episode out."
        )


def _outputs(predict: Callable, batch: _Batch, *, alone: bool) -> np.ndarray:
    """Outputs of all queries; `alone` keeps padding out of the sight of the real queries."""
    if not alone or (batch.weight > 0).all():
        return np.asarray(predict(batch.inputs))
    outputs = []
    for task, real in enumerate(batch.weight > 0):
        inputs = {key: value[task : task + 1] for key, value in batch.inputs.items()}
        inputs["query_x"] = tf.boolean_mask(inputs["query_x"], real, axis=1)
        of_real = np.asarray(predict(inputs))[0]
        outputs.append(np.zeros((len(real), *of_real.shape[1:]), of_real.dtype))
        outputs[-1][real] = of_real
    return np.stack(outputs)


def _check_outputs(outputs: np.ndarray, batch: _Batch) -> None:
    shape, wanted = outputs.shape, batch.query_y.shape
    has_classes = _has_classes(batch)
    if len(shape) != 3 or (shape[:-1] if has_classes else shape) != wanted:
        expected = "[tasks, query, n_way]" if has_classes else "[tasks, query, d]"
        raise ValueError(
            f"The learner must return {expected} for `query_y` of shape {wanted} and dtype "
            f"{batch.query_y.dtype}. Received: {shape}. Class numbers are integers "
            "[tasks, query], targets of a regression floats [tasks, query, d]."
        )
    counted = batch.weight > 0
    finite = np.isfinite(outputs).all(axis=-1) | ~counted
    if not finite.all():
        task = int(np.flatnonzero(~finite.all(axis=1))[0])
        raise ValueError(
            "The learner's outputs must be finite. Received: "
            f"{np.sum(~finite[task])} queries of episode {batch.numbers[task]} that are not. "
            "Lower the inner learning rate, or look at that episode."
        )
    if has_classes:
        labels = batch.query_y[counted]
        if labels.min() < 0 or labels.max() >= shape[-1]:
            raise ValueError(
                f"`query_y` must lie in 0 ... n_way - 1 = {shape[-1] - 1}, the width of the "
                f"learner's outputs. Received: {labels.min()} ... {labels.max()}. Number the "
                "classes of every episode anew, or give the network more outputs."
            )


def _results(outputs: np.ndarray, batch: _Batch) -> np.ndarray:
    """`[tasks]`: weighted mean over the queries of each episode."""
    if _has_classes(batch):
        of_queries = (outputs.argmax(axis=-1) == batch.query_y).astype(np.float64)
    else:
        of_queries = np.mean((outputs.astype(np.float64) - batch.query_y) ** 2, axis=-1)
    of_queries = np.where(batch.weight > 0, of_queries, 0.0)
    return (batch.weight * of_queries).sum(axis=1) / batch.weight.sum(axis=1)


class _Protocol:
    """Ways, shots and queries per class, as they are in the episodes."""

    def __init__(self) -> None:
        self._seen: dict[str, set[int]] = {"n_way": set(), "n_shot": set(), "n_query": set()}

    def update(self, batch: _Batch) -> None:
        support_y = np.asarray(batch.inputs["support_y"])
        mask = np.asarray(batch.inputs.get("support_mask", np.ones(support_y.shape[:2], bool)))
        queries = batch.weight > 0
        if not _has_classes(batch):
            self._seen["n_shot"].update(mask.sum(axis=1).tolist())
            self._seen["n_query"].update(queries.sum(axis=1).tolist())
            return
        for task, labels in enumerate(support_y):
            _, shots = np.unique(labels[mask[task]], return_counts=True)
            _, of_class = np.unique(batch.query_y[task][queries[task]], return_counts=True)
            self._seen["n_way"].add(len(shots))
            self._seen["n_shot"].update(shots.tolist())
            self._seen["n_query"].update(of_class.tolist())

    def describe(self) -> dict[str, Any]:
        seen = {key: sorted(values) for key, values in self._seen.items() if values}
        return {
            key: values[0] if len(values) == 1 else [values[0], values[-1]]
            for key, values in seen.items()
        }
