"""Batches of episodes as evaluation walks through them, and the protocol that they follow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfmeta.typing import EpisodeBatch, Tensor

# The label of a query whose class the support does not have.
UNKNOWN = -1


class Batch(NamedTuple):
    """One batch of episodes: tensors for the learner, arrays for the scores."""

    inputs: dict[str, Tensor]
    query_y: np.ndarray
    weight: np.ndarray
    numbers: np.ndarray

    def first(self, count: int) -> Batch:
        """The first episodes of the batch."""
        inputs = {key: value[:count] for key, value in self.inputs.items()}
        return Batch(inputs, self.query_y[:count], self.weight[:count], self.numbers[:count])

    @property
    def has_classes(self) -> bool:
        """Whether the queries have class numbers."""
        return bool(np.issubdtype(self.query_y.dtype, np.integer))


def statistics_of(learner: Any) -> str:
    """`"transductive"` or `"inductive"`, as the learner says of itself."""
    transductive = getattr(learner, "transductive", None)
    if transductive is None:
        transductive = getattr(learner, "statistics", None) == "transductive"
    return "transductive" if transductive else "inductive"


def batches_of(episodes: Iterable[EpisodeBatch], n_episodes: int) -> Iterator[Batch]:
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


def _unpack(element: Any, seen: int) -> Batch:
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
    batch = Batch(inputs, query_y, weight, np.asarray(numbers))
    _check_weight(batch)
    return batch


def _check_weight(batch: Batch) -> None:
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


def outputs_of(predict: Callable, batch: Batch, *, alone: bool) -> np.ndarray:
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


def check_outputs(outputs: np.ndarray, batch: Batch, *, allow_unknown: bool = False) -> None:
    """Refuses outputs of another shape, or not finite, and labels that they have no place for."""
    shape, wanted = outputs.shape, batch.query_y.shape
    has_classes = batch.has_classes
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
        if labels.min() < (UNKNOWN if allow_unknown else 0) or labels.max() >= shape[-1]:
            raise ValueError(
                f"`query_y` must lie in 0 ... n_way - 1 = {shape[-1] - 1}, the width of the "
                f"learner's outputs. Received: {labels.min()} ... {labels.max()}. Number the "
                "classes of every episode anew, or give the network more outputs."
            )


class Protocol:
    """Ways, shots, queries per class and unknown queries, as they are in the episodes."""

    def __init__(self) -> None:
        names = ("n_way", "n_shot", "n_query", "n_unknown")
        self._seen: dict[str, set[int]] = {name: set() for name in names}

    def update(self, batch: Batch) -> None:
        support_y = np.asarray(batch.inputs["support_y"])
        mask = np.asarray(batch.inputs.get("support_mask", np.ones(support_y.shape[:2], bool)))
        queries = batch.weight > 0
        if not batch.has_classes:
            self._seen["n_shot"].update(mask.sum(axis=1).tolist())
            self._seen["n_query"].update(queries.sum(axis=1).tolist())
            return
        for task, labels in enumerate(support_y):
            _, shots = np.unique(labels[mask[task]], return_counts=True)
            query_y = batch.query_y[task][queries[task]]
            _, of_class = np.unique(query_y[query_y != UNKNOWN], return_counts=True)
            self._seen["n_way"].add(len(shots))
            self._seen["n_shot"].update(shots.tolist())
            self._seen["n_query"].update(of_class.tolist())
            if (query_y == UNKNOWN).any():
                self._seen["n_unknown"].add(int((query_y == UNKNOWN).sum()))

    def describe(self) -> dict[str, Any]:
        seen = {key: sorted(values) for key, values in self._seen.items() if values}
        return {
            key: values[0] if len(values) == 1 else [values[0], values[-1]]
            for key, values in seen.items()
        }
