"""Forgetting: what a backbone that was trained on a target still does on its source."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmeta.intervals import check_confidence, mean_interval
from tfmeta.json_report import JsonReport
from tfmeta.layers import network_input, normalize_by
from tfmeta.transfer.classifier import BackboneClassifier


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ForgettingReport(JsonReport):
    """The result of `forgetting`: accuracy on the source before and after.

    Attributes:
        before: accuracy of the source classifier.
        after: accuracy of its head on the features of the trained backbone.
        before_ci: half width of the Student-t interval of `before`, over examples.
        after_ci: that of `after`.
        forgotten: `before - after`.
        forgotten_ci: half width of its interval, over examples in pairs.
        lost: examples that were right before and are wrong after.
        gained: examples that were wrong before and are right after.
        n_examples: how many there are.
        confidence: of the intervals.

    Example:
        >>> report = ForgettingReport(
        ...     before=0.9, after=0.7, before_ci=0.01, after_ci=0.02, forgotten=0.2,
        ...     forgotten_ci=0.02, lost=21, gained=1, n_examples=100)
        >>> print(report)
        source accuracy 90.00 % ± 1.00 before, 70.00 % ± 2.00 after, 20.00 ± 2.00 points forgotten
        (95 % CI, 100 examples: 21 lost, 1 gained)
        >>> ForgettingReport.from_json(report.to_json()) == report
        True
    """

    before: float
    after: float
    before_ci: float
    after_ci: float
    forgotten: float
    forgotten_ci: float
    lost: int
    gained: int
    n_examples: int
    confidence: float = 0.95

    def __str__(self) -> str:
        return (
            f"source accuracy {100 * self.before:.2f} % ± {100 * self.before_ci:.2f} before, "
            f"{100 * self.after:.2f} % ± {100 * self.after_ci:.2f} after, "
            f"{100 * self.forgotten:.2f} ± {100 * self.forgotten_ci:.2f} points forgotten\n"
            f"({100 * self.confidence:g} % CI, {self.n_examples} examples: {self.lost} lost, "
            f"{self.gained} gained)"
        )


def forgetting(
    source: keras.Model,
    x: Any,
    y: Any,
    *,
    backbone: keras.Model | None = None,
    before: np.ndarray | None = None,
    batch_size: int = 64,
    confidence: float = 0.95,
) -> ForgettingReport:
    """How much of its source task a classifier lost when its backbone was trained on a target.

    The source head is kept, and put on the features of the backbone as it was and as it is. Either
    a copy of the backbone was trained: pass it as `backbone`. Or the source's own was, in place:
    keep the outputs that it had, `before = source.predict(x)`, and pass those.

    Args:
        source: a classifier of the source task; with `backbone` one of a backbone and a head,
            such as `FineTune`.
        x: source examples `[n, ...]`, at least two.
        y: their class numbers `[n]`.
        backbone: what a copy of the source's backbone became, with features of the same width.
        before: outputs `[n, n_classes]` of the source from before its training in place.
        batch_size: examples of one call.
        confidence: of the intervals.

    Returns:
        The report; its intervals are over examples, that of the difference in pairs.

    Raises:
        ValueError: for both or none of `backbone` and `before`, shapes that do not fit, or fewer
            than two examples.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
        >>> source = tfmeta.transfer.FineTune(backbone, 3)
        >>> x, y = np.ones((6, 2)), np.array([0, 1, 2] * 2)
        >>> before = source.predict(x, verbose=0)
        >>> target = tfmeta.transfer.FineTune(backbone, 2)  # the same backbone, a new head
        >>> target.compile("adam")
        >>> history = target.fit(x, y % 2, verbose=0)
        >>> forgetting(source, x, y, before=before).n_examples
        6
    """
    check_confidence(confidence)
    y = np.asarray(y)
    if (backbone is None) == (before is None):
        raise ValueError(
            "Either `backbone`, the trained copy, or `before`, the outputs of the source before "
            "its training in place, is expected. Received: "
            f"{'none' if backbone is None else 'both'}."
        )
    outputs = source.predict(x, batch_size=batch_size, verbose=0)
    if backbone is None:
        pair = [np.asarray(before), outputs]
    else:
        pair = [outputs, _swapped_outputs(source, backbone, x, batch_size)]
    return _report(*(_are_right(given, y) for given in pair), confidence=confidence)


def _swapped_outputs(
    source: keras.Model, backbone: keras.Model, x: Any, batch_size: int
) -> np.ndarray:
    """Outputs `[n, n_classes]` of the source's head on another backbone."""
    if not isinstance(source, BackboneClassifier):
        raise ValueError(
            "With `backbone`, `source` must be a backbone under a head, such as "
            f"`tfmeta.transfer.FineTune`. Received: source={source!r}. Pass `before` instead."
        )
    if backbone.output_shape != source.backbone.output_shape:
        raise ValueError(
            "`backbone` must give features as the source's own does, of shape "
            f"{source.backbone.output_shape}. Received: {backbone.output_shape}. Pass the copy "
            "that was trained."
        )

    @tf.function(autograph=False, reduce_retracing=True)
    def outputs(batch: tf.Tensor) -> tf.Tensor:
        with normalize_by("moving"):
            features = backbone(network_input(backbone, batch), training=False)
            return source.head(features, training=False)

    starts = range(0, len(x), batch_size)
    return np.concatenate([outputs(tf.constant(x[i : i + batch_size])).numpy() for i in starts])


def _are_right(outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`[n]`: 1 where an example is classified rightly, else 0."""
    if outputs.ndim != 2 or y.shape != outputs.shape[:1] or len(y) < 2:
        raise ValueError(
            "Outputs must be [n, n_classes] and `y` class numbers [n], n at least 2. Received: "
            f"shapes {outputs.shape} and {y.shape}. Pass the same examples as before."
        )
    return (outputs.argmax(axis=1) == y).astype(np.float64)


def _report(before: np.ndarray, after: np.ndarray, *, confidence: float) -> ForgettingReport:
    means = [mean_interval(values, confidence) for values in (before, after, before - after)]
    return ForgettingReport(
        before=means[0][0],
        after=means[1][0],
        forgotten=means[2][0],
        before_ci=means[0][1],
        after_ci=means[1][1],
        forgotten_ci=means[2][1],
        lost=int(np.sum(before > after)),
        gained=int(np.sum(after > before)),
        n_examples=len(before),
        confidence=confidence,
    )
