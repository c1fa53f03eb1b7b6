"""Cross-validation: parts of the examples, each of which is tested once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Fold(NamedTuple):
    """Row numbers of one training and its test.

    Attributes:
        train: `[n_train]` int64.
        test: `[n_test]` int64.
    """

    train: np.ndarray
    test: np.ndarray


def stratified_folds(y: np.ndarray, n_splits: int, *, seed: int = 0) -> list[Fold]:
    """Parts such that each example is tested once, the classes spread evenly over the parts.

    Every class trains in every part, which takes two examples of it.

    Args:
        y: `[n]` class numbers that take every value of `0 ... n_classes - 1`.
        n_splits: number of parts, at least 2.
        seed: of the order of the examples of a class.

    Returns:
        `n_splits` folds.

    Raises:
        ValueError: for fewer than two parts, a class with fewer than two examples, or more parts
            than examples.

    Example:
        >>> [fold.test.tolist() for fold in stratified_folds(np.array([0, 0, 1, 1]), 2)]
        [[0, 2], [1, 3]]
    """
    y = np.asarray(y)
    if not 2 <= n_splits <= len(y):
        raise ValueError(
            f"`n_splits` must be from 2 to the number of examples ({len(y)}). "
            f"Received: n_splits={n_splits}."
        )
    counts = np.bincount(y)
    if counts.min() < 2:
        raise ValueError(
            "Every class must have at least 2 examples, one to train on and one to test with. "
            f"Received: {counts.min()} of class {int(counts.argmin())}. Add examples, or leave "
            "the class out."
        )
    draws = np.random.default_rng(seed)
    order = np.concatenate([draws.permutation(np.flatnonzero(y == k)) for k in range(len(counts))])
    parts = [np.sort(order[start::n_splits]) for start in range(n_splits)]
    return [Fold(np.setdiff1d(np.arange(len(y)), part), part) for part in parts]
