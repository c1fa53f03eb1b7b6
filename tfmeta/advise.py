"""Advice on the user's own data: the usual methods side by side, in minutes."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np

from tfmeta.advice_methods import (
    FineTuning,
    Target,
    Trained,
    adapted_maml,
    nearest_centroid,
    probe,
    prototypes,
)
from tfmeta.advice_report import AdviceReport, MethodResult, recommend
from tfmeta.cross_validation import Fold, stratified_folds
from tfmeta.data import Examples
from tfmeta.intervals import check_confidence, share_interval
from tfmeta.learners import PrototypicalNetwork

ADVISED = ("nearest centroid", "prototypes", "linear probe", "adapted MAML", "fine-tune")
_ON_FEATURES = {"prototypes": prototypes, "linear probe": probe, "adapted MAML": adapted_maml}
_MEGABYTE = 2**20 / 4  # weights of float32


def advise(
    examples: Examples,
    *,
    backbone: keras.Model,
    methods: Sequence[str] = ADVISED,
    minutes: float | None = 5.0,
    n_splits: int = 5,
    max_per_class: int | None = None,
    epochs: int = 10,
    learning_rate: float = 1e-4,
    batch_size: int = 32,
    seed: int = 0,
    confidence: float = 0.95,
) -> AdviceReport:
    """A report of what works on these examples, with the method to use and why.

    The examples are split into `n_splits` parts, class by class; each part is the test set of a
    training on all the others, so that every example is tested once. Intervals are over examples,
    and methods are told apart by those of their differences in pairs; what other training examples
    would change is in them only as far as the parts differ. The methods:

    - `"nearest centroid"`: nearest class mean on the raw examples, a control.
    - `"prototypes"`: nearest class mean of the backbone's features (`SimpleShot`).
    - `"linear probe"`: logistic regression on the features.
    - `"adapted MAML"`: a head that starts from the prototypes and adapts in a few steps of
      meta-learned rates (`MAML` over the head).
    - `"fine-tune"`: all weights, from the linear probe as the head (`FineTune`).

    The features are computed once for all methods but the first and the last. Fine-tuning takes
    what is left of the time. Begin with `backbone=tfmeta.models.pretrained(...)`: a backbone with
    random weights, `pretrained(..., weights=None)`, shows what training from scratch would give.

    Args:
        examples: labelled pictures or vectors, at least two of each class.
        backbone: a built Keras model from examples to features `[batch, features]`; its weights
            stay as they are.
        methods: some of those above.
        minutes: about how long all of it may take; it ends the fine-tunings, where one step each
            is always made. None for no limit, and for the same result at any speed.
        n_splits: parts, at least 2.
        max_per_class: examples of each class that are used, drawn by the seed; None for all.
        epochs: of a fine-tuning, where the time allows them.
        learning_rate: of fine-tuning, by Adam.
        batch_size: of fine-tuning.
        seed: of all draws.
        confidence: of the intervals.

    Returns:
        The report; `print` it.

    Raises:
        ValueError: for a class with fewer than two examples, a single class, texts, an unknown
            method, or options that are not positive.

    Example:
        >>> backbone = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
        >>> report = advise(
        ...     examples, backbone=backbone, methods=["nearest centroid", "prototypes"])
        >>> sorted(result.method for result in report.results)
        ['nearest centroid', 'prototypes']
    """
    started = time.perf_counter()
    _check(examples, methods, minutes, confidence)
    _check_positive(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    if max_per_class is not None:
        examples = _at_most(examples, max_per_class, seed)
    folds = stratified_folds(examples.y, n_splits, seed=seed)
    before_pass = time.perf_counter()
    features = PrototypicalNetwork(backbone).embed(examples, batch_size=batch_size).x
    pass_seconds = (time.perf_counter() - before_pass) / len(examples)
    target = Target(examples, features, backbone, seed)
    measured = {}
    for name in (name for name in ADVISED[:-1] if name in methods):
        train = _ON_FEATURES.get(name, nearest_centroid)
        of_example = pass_seconds if name in _ON_FEATURES else 0.0
        measured[name] = _measured(functools.partial(train, target), target, folds, of_example)
    if "fine-tune" in methods:
        deadline = None if minutes is None else started + 60.0 * minutes
        fine_tuning = FineTuning(
            target, epochs=epochs, learning_rate=learning_rate, batch_size=batch_size
        )
        share = _shares_of_time(deadline, len(folds), pass_seconds * len(examples))
        measured["fine-tune"] = _measured(
            lambda rows: fine_tuning(rows, share()), target, folds, pass_seconds
        )
    return _report(measured, target, folds, minutes, confidence)


def _measured(
    train: Callable[[np.ndarray], Trained],
    target: Target,
    folds: Sequence[Fold],
    seconds_of_example: float,
) -> tuple[np.ndarray, float, Trained]:
    """Whether each example was right `[n]`, seconds of a training, and what the last one left."""
    right, seconds = np.zeros(len(target.y), bool), 0.0
    for fold in folds:
        start = time.perf_counter()
        trained = train(fold.train)
        seconds += time.perf_counter() - start + seconds_of_example * len(fold.train)
        right[fold.test] = trained.predict(fold.test) == target.y[fold.test]
    return right, seconds / len(folds), trained


def _shares_of_time(
    deadline: float | None, n_folds: int, seconds_of_tests: float
) -> Callable[[], float | None]:
    """A function that gives the seconds of the next training: what is left, in equal parts."""
    left = n_folds

    def share() -> float | None:
        nonlocal left
        seconds = 0.0 if deadline is None else deadline - time.perf_counter()
        # A test passes its part of the examples through the backbone.
        seconds = seconds / left - seconds_of_tests / n_folds
        left -= 1
        return None if deadline is None else max(seconds, 0.0)

    return share


def _report(
    measured: dict[str, tuple[np.ndarray, float, Trained]],
    target: Target,
    folds: Sequence[Fold],
    minutes: float | None,
    confidence: float,
) -> AdviceReport:
    results = []
    for name, (right, seconds, trained) in measured.items():
        accuracy, low, high = share_interval(right, confidence)
        results.append(
            MethodResult(
                method=name,
                accuracy=accuracy,
                interval=(low, high),
                right="".join("01"[is_right] for is_right in right.astype(int)),
                seconds=seconds,
                n_trained=trained.n_trained,
                megabytes=trained.n_weights / _MEGABYTE,
                note=trained.note,
            )
        )
    results.sort(key=lambda result: -result.accuracy)
    guessing = float(np.bincount(target.y).max() / len(target.y))
    use, reason = recommend(results, guessing=guessing, confidence=confidence)
    protocol = {
        "n_examples": len(target.y),
        "n_classes": target.examples.n_classes,
        "n_splits": len(folds),
        "n_train": len(folds[0].train),
        "n_test": len(folds[0].test),
        "largest_class": round(guessing, 4),
        "minutes": minutes,
        "seed": target.seed,
    }
    return AdviceReport(
        results=tuple(results), use=use, reason=reason, protocol=protocol, confidence=confidence
    )


def _at_most(examples: Examples, per_class: int, seed: int) -> Examples:
    """The examples, those of a class with more than so many drawn from it."""
    if per_class < 2:
        raise ValueError(
            "`max_per_class` must be at least 2, one to train on and one to test with. "
            f"Received: max_per_class={per_class}."
        )
    order = np.random.default_rng(seed).permutation(len(examples))
    classes = [order[examples.y[order] == k][:per_class] for k in range(examples.n_classes)]
    return examples.take(np.sort(np.concatenate(classes)))


def _check(
    examples: Examples, methods: Sequence[str], minutes: float | None, confidence: float
) -> None:
    check_confidence(confidence)
    if not isinstance(examples, Examples) or examples.is_text:
        raise ValueError(
            "`examples` must be `tfmeta.data.Examples` of pictures or vectors. Received: "
            f"{examples!r}. Load them with `tfmeta.data.from_directory` or `from_arrays`."
        )
    if examples.n_classes < 2:
        raise ValueError(
            "At least two classes are needed. Received: one, "
            f"{examples.class_names[0]!r}. Add examples of another."
        )
    rare = [
        n for n, count in zip(examples.class_names, examples.class_counts, strict=True) if count < 2
    ]
    if rare:
        raise ValueError(
            "Every class must have at least 2 examples, one to train on and one to test with. "
            f"Received: one of each of {rare[:5]}. Add examples, or leave such classes out with "
            "`examples.select(...)`."
        )
    unknown = [name for name in methods if name not in ADVISED]
    if unknown or not methods:
        raise ValueError(
            f"`methods` must be some of {list(ADVISED)}. Received: methods={list(methods)}."
        )
    if minutes is not None:
        _check_positive(minutes=minutes)


def _check_positive(**options: float) -> None:
    for name, value in options.items():
        if not value > 0:
            raise ValueError(f"`{name}` must be positive. Received: {name}={value}.")
