"""Errors of forecasts as the M competitions count them: sMAPE, MASE and OWA."""

from __future__ import annotations

import numpy as np


def smape(actual: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Symmetric mean absolute percentage error, in per cent.

    `200 mean |y - f| / (|y| + |f|)` over the horizon (Makridakis et al. 2020, "The M4 Competition",
    equation 1); a point where both are zero is forecast exactly and counts as 0.

    Args:
        actual: `[..., horizon]`.
        forecast: `[..., horizon]`.

    Returns:
        `[...]` float64, 0 ... 200.

    Raises:
        ValueError: for shapes that differ, or numbers that are not finite.

    Example:
        >>> round(float(smape(np.array([100.0]), np.array([50.0]))), 3)
        66.667
    """
    actual, forecast = _pair(actual, forecast)
    size = np.abs(actual) + np.abs(forecast)
    shares = np.divide(np.abs(actual - forecast), size, out=np.zeros_like(size), where=size > 0)
    return 200.0 * shares.mean(axis=-1)


def mase(
    actual: np.ndarray, forecast: np.ndarray, past: np.ndarray, *, period: int = 1
) -> np.ndarray:
    """Mean absolute scaled error: in units of the seasonal naive method's error on the past.

    `mean |y - f| / mean |past_t - past_(t - period)|` (Hyndman and Koehler 2006).

    Args:
        actual: `[horizon]`.
        forecast: `[horizon]`.
        past: `[time]`, longer than `period`.
        period: of the season, 1 for none.

    Returns:
        A float64 scalar.

    Raises:
        ValueError: for shapes that differ, a past that is too short, or one that repeats itself
            with the period, whose error is zero.

    Example:
        >>> float(mase(np.array([3.0]), np.array([5.0]), np.array([1.0, 2.0, 4.0])))
        1.3333333333333333
    """
    actual, forecast = _pair(actual, forecast)
    return np.abs(actual - forecast).mean(axis=-1) / naive_error(past, period=period)


def naive_error(past: np.ndarray, *, period: int = 1) -> float:
    """Mean absolute error of the seasonal naive method on a series' own past.

    Args:
        past: `[time]`, longer than `period`.
        period: of the season, 1 for none.

    Returns:
        A positive number.

    Raises:
        ValueError: for a past that is too short, or one that repeats itself with the period.

    Example:
        >>> naive_error(np.array([1.0, 2.0, 4.0]))
        1.5
    """
    past = np.asarray(past, np.float64)
    if period < 1 or len(past) <= period:
        raise ValueError(
            "The past must be longer than the period, which is at least 1. Received: "
            f"{len(past)} values and period={period}."
        )
    error = float(np.abs(past[period:] - past[:-period]).mean())
    if not error > 0.0:
        raise ValueError(
            "MASE needs a past that changes: its naive error divides. Received: a series that "
            f"repeats itself with period={period}. Leave it out, or use sMAPE."
        )
    return error


def owa(smapes: float, mases: float, naive_smape: float, naive_mase: float) -> float:
    """Overall weighted average: the mean of both errors, each over that of Naive2.

    Args:
        smapes: mean sMAPE over the series.
        mases: mean MASE over the series.
        naive_smape: that of Naive2 on the same series.
        naive_mase: that of Naive2 on the same series.

    Returns:
        Below 1 where the forecasts are better than Naive2's.

    Example:
        >>> owa(9.0, 2.0, 18.0, 4.0)
        0.5
    """
    return 0.5 * (smapes / naive_smape + mases / naive_mase)


def _pair(actual: np.ndarray, forecast: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    actual, forecast = np.asarray(actual, np.float64), np.asarray(forecast, np.float64)
    if actual.shape != forecast.shape or not actual.shape:
        raise ValueError(
            "`actual` and `forecast` must have one shape [..., horizon]. Received: "
            f"{actual.shape} and {forecast.shape}."
        )
    if not (np.isfinite(actual).all() and np.isfinite(forecast).all()):
        raise ValueError(
            "Values and forecasts must be finite. Received: NaN or infinity in "
            f"{'`actual`' if not np.isfinite(actual).all() else '`forecast`'}."
        )
    return actual, forecast
