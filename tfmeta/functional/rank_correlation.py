"""Correlations of ranks: whether one list of numbers orders things as another does."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rho: Pearson's correlation of the ranks, ties at their mean rank.

    Args:
        a: `[n]`.
        b: `[n]`.

    Returns:
        Between -1 and 1; NaN where all values of a list are equal.

    Example:
        >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0]))
        0.5
    """
    ranks = [rank - rank.mean() for rank in (_ranks(a), _ranks(b))]
    scale = math.sqrt(float(np.sum(ranks[0] ** 2)) * float(np.sum(ranks[1] ** 2)))
    return float(ranks[0] @ ranks[1]) / scale if scale else math.nan


def kendall(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau-b: pairs in the same order minus pairs in the other, corrected for ties.

    Args:
        a: `[n]`.
        b: `[n]`.

    Returns:
        Between -1 and 1; NaN where all values of a list are equal.

    Example:
        >>> round(kendall(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0])), 3)
        0.333
    """
    signs = [np.sign(v[:, None] - v) for v in (np.asarray(a), np.asarray(b))]
    scale = math.sqrt(float(np.sum(signs[0] ** 2)) * float(np.sum(signs[1] ** 2)))
    return float(np.sum(signs[0] * signs[1])) / scale if scale else math.nan


# Variances of Fisher's z of the two, times n minus the second number.
_OF_Z = {"spearman": (1.06, 3), "kendall": (0.437, 4)}


def rank_correlation_interval(
    value: float, n: int, *, kind: str, confidence: float = 0.95
) -> tuple[float, float] | None:
    """An approximate interval of a rank correlation, by Fisher's z.

    `tanh(atanh(r) +- q s)` with `s^2 = 1.06 / (n - 3)` for Spearman's and `0.437 / (n - 4)` for
    Kendall's (Fieller, Hartley and Pearson 1957, "Tests for rank correlation coefficients").

    Args:
        value: the correlation.
        n: pairs.
        kind: `"spearman"` or `"kendall"`.
        confidence: of the interval.

    Returns:
        `(low, high)`; None where n is too small, or the correlation is 1, -1 or NaN.

    Example:
        >>> rank_correlation_interval(0.5, 3, kind="spearman") is None
        True
        >>> low, high = rank_correlation_interval(0.5, 30, kind="spearman")
        >>> round(low, 2), round(high, 2)
        (0.16, 0.73)
    """
    variance, lost = _OF_Z[kind]
    if n <= lost or not abs(value) < 1.0 - 1e-12:
        return None
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * math.sqrt(variance / (n - lost))
    return math.tanh(math.atanh(value) - half), math.tanh(math.atanh(value) + half)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks `[n]` from 0, the mean of the ranks for ties."""
    values = np.asarray(values, np.float64)
    below = (values < values[:, None]).sum(axis=1)
    return below + ((values == values[:, None]).sum(axis=1) - 1) / 2
