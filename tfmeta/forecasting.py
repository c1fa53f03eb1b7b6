"""Forecasts of held-out horizons, with the errors of the M competitions and their intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfmeta.data import ForecastTasks
from tfmeta.functional import mase, naive2, smape
from tfmeta.intervals import mean_interval
from tfmeta.json_report import JsonReport

Forecaster = Callable[[Mapping[str, np.ndarray]], Any]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ForecastReport(JsonReport):
    """The result of `evaluate_forecasts`: errors of each series, and their means.

    `owa` is the mean over series of `(smape_i / naive_smape + mase_i / naive_mase) / 2`, which is
    the competition's number; below 1 is better than Naive2.

    Attributes:
        ids: names of the series.
        smape: `[n]` in per cent.
        mase: `[n]`.
        naive_smape: mean sMAPE of Naive2 on the same series.
        naive_mase: mean MASE of Naive2 on the same series.
        left_out: names of series that are in no number, and why.
        confidence: of the intervals.
        name: what was evaluated.

    Example:
        >>> report = ForecastReport(ids=("a", "b"), smape=np.array([9.0, 11.0]),
        ...     mase=np.array([1.0, 3.0]), naive_smape=20.0, naive_mase=4.0)
        >>> report.mean("owa")[0]
        0.5
        >>> ForecastReport.from_json(report.to_json()) == report
        True
    """

    ids: tuple[str, ...]
    smape: np.ndarray
    mase: np.ndarray
    naive_smape: float
    naive_mase: float
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    confidence: float = 0.95
    name: str | None = None

    @property
    def owa(self) -> np.ndarray:
        """What each series adds to the overall weighted average, `[n]`."""
        return 0.5 * (self.smape / self.naive_smape + self.mase / self.naive_mase)

    def mean(self, error: str) -> tuple[float, float]:
        """The mean of an error over the series, and the half width of its interval.

        Args:
            error: `"smape"`, `"mase"` or `"owa"`.

        Returns:
            `(mean, half_width)`.
        """
        return mean_interval(getattr(self, error), self.confidence)

    def __str__(self) -> str:
        owa, ci = self.mean("owa")
        out = f", {len(self.left_out)} left out" if self.left_out else ""
        return (
            f"OWA {owa:.3f} ± {ci:.3f}, sMAPE {self.smape.mean():.3f} %, MASE "
            f"{self.mase.mean():.3f} ({100 * self.confidence:g} % CI, {len(self.ids)} series{out})"
        )

    @classmethod
    def _from_plain(cls, fields):
        arrays = {name: np.array(fields[name], np.float64) for name in ("smape", "mase")}
        return {**fields, **arrays, "ids": tuple(fields["ids"])}


def forecast(forecaster: Forecaster, tasks: ForecastTasks, *, n_shot: int) -> np.ndarray:
    """What follows each series, in its own units.

    Args:
        forecaster: from a batch of episodes to `[n, 1, horizon]`: a learner, or a function.
        tasks: the series, window and horizon.
        n_shot: windows of every support set.

    Returns:
        `[n, horizon]` float64.

    Example:
        >>> tasks = forecast_tasks(Series([np.arange(1.0, 30.0)]), window=4, horizon=2)
        >>> forecast(lambda inputs: inputs["query_x"][:, :, -2:], tasks, n_shot=1).round(3)
        array([[28., 29.]])
    """
    inputs, unit = tasks.last(n_shot)
    if hasattr(forecaster, "predict"):
        outputs = forecaster.predict(inputs, verbose=0)
    else:
        outputs = forecaster(inputs)
    return np.asarray(outputs, np.float64)[:, 0] * unit[:, None]


def evaluate_forecasts(
    forecaster: Forecaster,
    tasks: ForecastTasks,
    *,
    n_shot: int,
    confidence: float = 0.95,
    name: str | None = None,
) -> ForecastReport:
    """A report of how well the future of every series is forecast from its past.

    Series whose past repeats itself with the period have no MASE (its denominator is zero), nor
    have those whose past is not longer than the period: they are left out of every number, and the
    report names them. Of a horizon that is longer than a future, the first points count.

    Args:
        forecaster: from a batch of episodes to `[n, 1, horizon]`: a learner, or a function.
        tasks: series with a future, of `horizon` points or fewer.
        n_shot: windows of every support set.
        confidence: of the intervals.
        name: what is evaluated; None for the learner's own.

    Returns:
        The report; `str(report)` has OWA, sMAPE and MASE.

    Raises:
        ValueError: for series without a future, or with one that is longer than the horizon.

    Example:
        >>> draws = np.random.default_rng(0)
        >>> series = Series([draws.uniform(1, 2, 30) for _ in range(3)]).hold_out(2)
        >>> tasks = forecast_tasks(series, window=4, horizon=2)
        >>> last = lambda inputs: np.repeat(inputs["query_x"][..., -1:], 2, axis=-1)
        >>> round(evaluate_forecasts(last, tasks, n_shot=1).mean("owa")[0], 6)
        1.0
    """
    series = tasks.series
    _check_future(tasks)
    rows, left_out = _with_naive_error(tasks)
    tasks = dataclasses.replace(tasks, series=series.select(rows))
    series = tasks.series
    forecasts = forecast(forecaster, tasks, n_shot=n_shot)
    naive = [naive2(past, tasks.horizon, period=series.period) for past in series.past]
    smapes, mases = _errors(forecasts, tasks)
    naive_smapes, naive_mases = _errors(np.array(naive), tasks)
    return ForecastReport(
        ids=series.ids,
        smape=smapes,
        mase=mases,
        naive_smape=float(naive_smapes.mean()),
        naive_mase=float(naive_mases.mean()),
        left_out=left_out,
        confidence=confidence,
        name=getattr(forecaster, "name", None) if name is None else name,
    )


def _errors(forecasts: np.ndarray, tasks: ForecastTasks) -> tuple[np.ndarray, np.ndarray]:
    """SMAPE and MASE of each series."""
    series = tasks.series
    triples = list(zip(series.future or (), forecasts, series.past, strict=True))
    smapes = [smape(y, f[: len(y)]) for y, f, _ in triples]
    mases = [mase(y, f[: len(y)], past, period=series.period) for y, f, past in triples]
    return np.array(smapes), np.array(mases)


def _with_naive_error(tasks: ForecastTasks) -> tuple[list[int], dict[str, str]]:
    """The numbers of the series that have a MASE, and why the others have none."""
    rows, left_out, period = [], {}, tasks.series.period
    for row, (name, past) in enumerate(zip(tasks.series.ids, tasks.series.past, strict=True)):
        if len(past) <= period:
            left_out[name] = "its past is not longer than the period"
        elif np.array_equal(past[period:], past[:-period]):
            left_out[name] = "its past repeats itself with the period"
        else:
            rows.append(row)
    if not rows:
        raise ValueError(
            "A MASE needs a past that is longer than the period and does not repeat itself. "
            f"Received: {len(left_out)} series without one, the first of them because "
            f"{next(iter(left_out.values()))}."
        )
    return rows, left_out


def _check_future(tasks: ForecastTasks) -> None:
    future = tasks.series.future
    lengths = sorted({len(x) for x in future}) if future is not None else []
    if not lengths or lengths[-1] > tasks.horizon:
        raise ValueError(
            f"Every series must have a future of at most horizon={tasks.horizon} points. Received: "
            f"futures of {lengths or 'no'} points. Make them with `series.hold_out(horizon)`."
        )
