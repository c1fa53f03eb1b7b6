"""Which backbone to begin with: scores of features that nothing was trained on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmeta.cross_validation import stratified_folds
from tfmeta.data import Examples
from tfmeta.functional.logistic_regression import linear_probe
from tfmeta.functional.rank_correlation import kendall, rank_correlation_interval, spearman
from tfmeta.functional.transferability import h_score, log_me
from tfmeta.intervals import check_confidence, share_interval
from tfmeta.json_report import JsonReport
from tfmeta.learners import PrototypicalNetwork

MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "log_me": log_me,
    "h_score": h_score,
    "shrunk_h_score": lambda features, y: h_score(features, y, shrinkage=True),
}
_CORRELATIONS = {"spearman": spearman, "kendall": kendall}
_Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class BackboneRanking(JsonReport):
    """The result of `rank_backbones`; `str(ranking)` is a table, the best backbone first.

    Attributes:
        measure: `"log_me"`, `"h_score"` or `"shrunk_h_score"`.
        scores: by backbone, the best first.
        n_features: by backbone.
        seconds: of the pass over the data, by backbone.
        n_examples: how many there are.
        n_classes: how many there are.
        accuracy: measured, by backbone; empty where nothing was measured.
        interval: of the accuracy, `(low, high)` over examples, by backbone; empty where unknown.
        correlation: of scores and accuracies: `"spearman"` and `"kendall"`; NaN where the
            accuracies are all equal.
        correlation_interval: of those, `(low, high)`, where there are backbones enough for one.
        confidence: of the intervals.

    Example:
        >>> ranking = BackboneRanking(
        ...     measure="log_me", scores={"b": 0.4, "a": 0.1}, n_features={"a": 8, "b": 8},
        ...     seconds={"a": 1.0, "b": 2.0}, n_examples=60, n_classes=6)
        >>> ranking.best
        'b'
        >>> BackboneRanking.from_json(ranking.to_json()) == ranking
        True
    """

    measure: str
    scores: Mapping[str, float]
    n_features: Mapping[str, int]
    seconds: Mapping[str, float]
    n_examples: int
    n_classes: int
    accuracy: Mapping[str, float] = dataclasses.field(default_factory=dict)
    interval: Mapping[str, _Interval] = dataclasses.field(default_factory=dict)
    correlation: Mapping[str, float] = dataclasses.field(default_factory=dict)
    correlation_interval: Mapping[str, _Interval] = dataclasses.field(default_factory=dict)
    confidence: float = 0.95

    @property
    def best(self) -> str:
        """The backbone of the best score."""
        return next(iter(self.scores))

    def __str__(self) -> str:
        width = max(len("backbone"), *map(len, self.scores))
        head = f"{'backbone':{width}}  {self.measure:>14}  features  seconds"
        rows = [head + ("  accuracy" if self.accuracy else "")]
        for name, score in self.scores.items():
            row = f"{name:{width}}  {score:14.4f}  {self.n_features[name]:8d}"
            rows.append(f"{row}  {self.seconds[name]:7.1f}{self._accuracy(name)}")
        rows.append(f"{self.n_examples} examples of {self.n_classes} classes")
        rows.extend(self._correlations())
        return "\n".join(rows)

    def _accuracy(self, name: str) -> str:
        if name not in self.accuracy:
            return ""
        text = f"  {100 * self.accuracy[name]:.2f} %"
        if name not in self.interval:
            return text
        low, high = self.interval[name]
        return f"{text} ({100 * low:.2f} ... {100 * high:.2f})"

    def _correlations(self) -> list[str]:
        lines = []
        for kind, value in self.correlation.items():
            line = f"{kind} correlation with the accuracy: {value:.2f}"
            if kind in self.correlation_interval:
                low, high = self.correlation_interval[kind]
                line += f" ({100 * self.confidence:g} % CI {low:.2f} ... {high:.2f})"
            lines.append(f"{line}, {len(self.accuracy)} backbones")
        return lines

    @classmethod
    def _from_plain(cls, fields):
        for name in ("interval", "correlation_interval"):
            fields[name] = {key: tuple(pair) for key, pair in fields[name].items()}
        return fields


def rank_backbones(
    backbones: Mapping[str, keras.Model],
    examples: Examples,
    *,
    measure: str = "log_me",
    measured: Mapping[str, float] | None = None,
    probe: bool = False,
    n_splits: int = 5,
    batch_size: int = 64,
    seed: int = 0,
    confidence: float = 0.95,
) -> BackboneRanking:
    """A ranking of backbones by how well their features fit the labels, from one pass of each.

    Nothing is trained: the scores are closed formulas of the features (see
    `tfmeta.functional.transferability`). How far to trust them is said by their correlation with
    accuracies, where those are given or measured.

    Args:
        backbones: built Keras models from examples to features `[batch, features]`, by name.
        examples: of the target task.
        measure: `"log_me"`, `"h_score"`, or `"shrunk_h_score"`, its variant for few examples.
        measured: accuracies by name, of all backbones or some; the correlation is with those.
        probe: whether the accuracy of a linear probe is measured, by cross-validation on the
            features that are there anyway.
        n_splits: parts of the cross-validation.
        batch_size: examples of one call of a backbone.
        seed: of the parts.
        confidence: of the intervals.

    Returns:
        The ranking.

    Raises:
        ValueError: for no backbones, an unknown measure or name, both `measured` and `probe`,
            fewer than two classes, or too few examples of a class.

    Example:
        >>> def backbone(pixels):
        ...     crop = keras.layers.Cropping2D((28 - pixels) // 2)
        ...     return keras.Sequential([keras.Input((28, 28, 1)), crop, keras.layers.Flatten()])
        >>> ranking = rank_backbones({"small": backbone(4), "large": backbone(8)}, examples)
        >>> sorted(ranking.scores)
        ['large', 'small']
    """
    _check(backbones, measure, measured, probe, confidence)
    folds = stratified_folds(examples.y, n_splits, seed=seed) if probe else []
    scores, widths, seconds, accuracy, interval = {}, {}, {}, {}, {}
    for name, backbone in backbones.items():
        start = time.perf_counter()
        features = PrototypicalNetwork(backbone).embed(examples, batch_size=batch_size).x
        seconds[name] = time.perf_counter() - start
        scores[name] = MEASURES[measure](features, examples.y)
        widths[name] = features.shape[1]
        if probe:
            right = [probe_is_right(features, examples.y, *fold) for fold in folds]
            accuracy[name], low, high = share_interval(np.concatenate(right), confidence)
            interval[name] = (low, high)
    accuracy = {name: float(measured[name]) for name in measured} if measured else accuracy
    correlation, its_interval = _correlations(scores, accuracy, confidence)
    order = sorted(scores, key=lambda name: -scores[name])
    return BackboneRanking(
        measure=measure,
        scores={name: scores[name] for name in order},
        n_features=widths,
        seconds=seconds,
        n_examples=len(examples),
        n_classes=examples.n_classes,
        accuracy=accuracy,
        interval=interval,
        correlation=correlation,
        correlation_interval=its_interval,
        confidence=confidence,
    )


def probe_is_right(
    features: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Whether a linear probe that is trained on some rows is right about each of others.

    Args:
        features: `[n, d]`.
        y: `[n]` class numbers.
        train: row numbers.
        test: row numbers `[m]`.

    Returns:
        `[m]` bool.

    Example:
        >>> x, y = np.array([[0.0], [1.0], [0.1], [0.9]]), np.array([0, 1, 0, 1])
        >>> probe_is_right(x, y, np.array([0, 1]), np.array([2, 3]))
        array([ True,  True])
    """
    kernel, bias = linear_probe(
        tf.constant(features[train]), tf.constant(y[train]), n_classes=int(y.max()) + 1
    )
    logits = features[test] @ kernel.numpy() + bias.numpy()
    return logits.argmax(axis=1) == y[test]


def _correlations(
    scores: Mapping[str, float], accuracy: Mapping[str, float], confidence: float
) -> tuple[dict[str, float], dict[str, _Interval]]:
    if len(accuracy) < 2:
        return {}, {}
    pairs = np.array([(scores[name], accuracy[name]) for name in accuracy])
    values = {kind: function(*pairs.T) for kind, function in _CORRELATIONS.items()}
    intervals = {
        kind: rank_correlation_interval(value, len(pairs), kind=kind, confidence=confidence)
        for kind, value in values.items()
    }
    return values, {kind: pair for kind, pair in intervals.items() if pair is not None}


def _check(backbones: Any, measure: str, measured: Any, probe: bool, confidence: float) -> None:
    check_confidence(confidence)
    if not isinstance(backbones, Mapping) or not backbones:
        raise ValueError(
            "`backbones` must be at least one backbone by name, {'name': model}. Received: "
            f"{backbones!r}."
        )
    if measure not in MEASURES:
        raise ValueError(
            f"`measure` must be one of {list(MEASURES)}. Received: measure={measure!r}."
        )
    if probe and measured is not None:
        raise ValueError(
            "Accuracies are given by `measured` or measured by `probe=True`. Received: both. "
            "Leave one out."
        )
    unknown = sorted(set(measured or ()) - set(backbones))
    if unknown:
        raise ValueError(
            f"`measured` must be by the names {sorted(backbones)}. Received also: {unknown}."
        )
