"""Confidence intervals of a mean."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import tensorflow as tf

_HALVINGS = 60


def student_t_quantile(confidence: float, degrees_of_freedom: int) -> float:
    """The `t` that a Student-t variable exceeds in absolute value with probability 1 - confidence.

    `P(|T| > t) = I_x(v / 2, 1 / 2)` with `x = v / (v + t^2)` and `I` the regularised incomplete
    beta function, solved for `x` by bisection.

    Args:
        confidence: between 0 and 1, for example 0.95.
        degrees_of_freedom: `v`, at least 1.

    Returns:
        A positive number; 1.96 for a confidence of 0.95 and many degrees of freedom.

    Raises:
        ValueError: for arguments out of range.

    Example:
        >>> round(student_t_quantile(0.95, 10), 3)
        2.228
    """
    check_confidence(confidence)
    if degrees_of_freedom < 1:
        raise ValueError(
            "`degrees_of_freedom` must be at least 1, so an interval needs two values. "
            f"Received: degrees_of_freedom={degrees_of_freedom}."
        )
    a, b = tf.constant(degrees_of_freedom / 2, tf.float64), tf.constant(0.5, tf.float64)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        x = (low + high) / 2
        if float(tf.math.betainc(a, b, tf.constant(x, tf.float64))) < 1 - confidence:
            low = x
        else:
            high = x
    return math.sqrt(degrees_of_freedom * (1 - x) / x)


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """The mean of independent values, and the half width of its Student-t interval.

    `t s / sqrt(n)` with `s` the standard deviation of the sample (divisor `n - 1`).

    Args:
        values: `[n]`, at least two.
        confidence: between 0 and 1.

    Returns:
        `(mean, half_width)`.

    Raises:
        ValueError: for fewer than two values or a confidence out of range.

    Example:
        >>> mean, half_width = mean_interval(np.array([0.0, 1.0]))
        >>> mean, round(half_width, 2)
        (0.5, 6.35)
    """
    values = np.asarray(values, np.float64)
    t = student_t_quantile(confidence, len(values) - 1)
    return float(values.mean()), float(t * values.std(ddof=1) / math.sqrt(len(values)))


def share_interval(right: np.ndarray, confidence: float = 0.95) -> tuple[float, float, float]:
    """The share of ones among independent zeros and ones, and its Wilson score interval.

    It lies inside 0 ... 1 and is not empty where all are right or all are wrong, as that of
    `mean_interval` would be (Wilson 1927, "Probable Inference, the Law of Succession, and
    Statistical Inference").

    Args:
        right: `[n]` zeros and ones, at least one.
        confidence: between 0 and 1.

    Returns:
        `(share, low, high)`.

    Raises:
        ValueError: for a confidence out of range.

    Example:
        >>> share, low, high = share_interval(np.ones(10))
        >>> share, round(low, 2), high
        (1.0, 0.72, 1.0)
    """
    check_confidence(confidence)
    n, share = len(right), float(np.mean(right))
    z2 = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * share * (1 - share) / n + (z2 / (2 * n)) ** 2) / (1 + z2 / n)
    return share, max(middle - half, 0.0), min(middle + half, 1.0)


def check_confidence(confidence: float) -> None:
    """Refuses what is not a share between 0 and 1."""
    if not 0 < confidence < 1:
        raise ValueError(
            "`confidence` must lie between 0 and 1, for example 0.95. "
            f"Received: confidence={confidence}."
        )
