"""Seasons of a series as the M4 competition takes them, and its benchmark Naive2."""

from __future__ import annotations

import numpy as np

_CRITICAL = 1.645  # of the normal distribution, at 90 %


def autocorrelation(past: np.ndarray, n_lags: int) -> np.ndarray:
    """Autocorrelations at the lags 1 ... n_lags, with the variance over the whole series.

    Args:
        past: `[time]`.
        n_lags: how many, below the length.

    Returns:
        `[n_lags]`; NaN for a constant series.

    Example:
        >>> autocorrelation(np.array([1.0, -1.0, 1.0, -1.0]), 2)
        array([-0.75,  0.5 ])
    """
    centred = np.asarray(past, np.float64) - np.mean(past)
    products = [np.dot(centred[lag:], centred[:-lag]) for lag in range(1, n_lags + 1)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.array(products) / np.dot(centred, centred)


def is_seasonal(past: np.ndarray, period: int) -> bool:
    """Whether the autocorrelation at the period differs from zero, at 90 %.

    Bartlett's limits, `1.645 sqrt((1 + 2 sum_(k < period) r_k^2) / n)`; a series of less than three
    periods is not seasonal (Makridakis et al. 2020, "The M4 Competition", appendix).

    Args:
        past: `[time]`.
        period: of the season; 1 is never seasonal.

    Returns:
        True or False.

    Example:
        >>> is_seasonal(np.tile([1.0, 2.0, 9.0, 4.0], 6), 4)
        True
    """
    if period < 2 or len(past) < 3 * period:
        return False
    r = autocorrelation(past, period)
    limit = _CRITICAL * np.sqrt((1.0 + 2.0 * np.sum(r[:-1] ** 2)) / len(past))
    return bool(np.abs(r[-1]) > limit)


def seasonal_factors(past: np.ndarray, period: int) -> np.ndarray:
    """Factor of each point of a period, by classical multiplicative decomposition.

    The series over its centred moving average, averaged by the place in the period and scaled to
    the mean 1.

    Args:
        past: `[time]`, two periods at least.
        period: of the season.

    Returns:
        `[period]`, the first one that of `past[0]`.

    Raises:
        ValueError: for less than two periods.

    Example:
        >>> seasonal_factors(np.tile([1.0, 3.0], 4), 2)
        array([0.5, 1.5])
    """
    past = np.asarray(past, np.float64)
    if len(past) < 2 * period:
        raise ValueError(
            "A decomposition needs at least two periods. Received: "
            f"{len(past)} values and period={period}."
        )
    weights = np.ones(period) if period % 2 else np.r_[0.5, np.ones(period - 1), 0.5]
    before = len(weights) // 2
    trend = np.convolve(past, weights / period, mode="valid")
    ratios = np.full(len(past), np.nan)
    ratios[before : before + len(trend)] = past[before : before + len(trend)] / trend
    padded = np.r_[ratios, np.full(-len(ratios) % period, np.nan)]
    factors = np.nanmean(padded.reshape(-1, period), axis=0)
    return factors / factors.mean()


def naive2(past: np.ndarray, horizon: int, *, period: int = 1) -> np.ndarray:
    """Forecasts by the last value, after the season was taken out where there is one.

    Args:
        past: `[time]`.
        horizon: points to forecast.
        period: of the season, 1 for none.

    Returns:
        `[horizon]` float64.

    Raises:
        ValueError: for an empty past or horizon.

    Example:
        >>> naive2(np.array([3.0, 5.0]), 2)
        array([5., 5.])
    """
    past = np.asarray(past, np.float64)
    if not len(past) or horizon < 1:
        raise ValueError(
            "Naive2 needs a value to repeat and a horizon of at least 1. Received: "
            f"{len(past)} values and horizon={horizon}."
        )
    if not is_seasonal(past, period):
        return np.repeat(past[-1], horizon)
    factors = seasonal_factors(past, period)
    places = (len(past) + np.arange(horizon)) % period
    return past[-1] / factors[(len(past) - 1) % period] * factors[places]
