"""Forecasting as episodes: a series' own past is the support, its horizon the query."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

from tfmeta.data.counts import check_counts
from tfmeta.data.sampler import random_bits, random_integers
from tfmeta.data.series import Series


@dataclass(frozen=True)
class ForecastTasks:
    """Family of tasks for `episode_dataset`: one series, cut at one time; see `forecast_tasks`.

    Attributes:
        series: the series.
        window: points that a forecast looks back at.
        horizon: points of a forecast.
        stride: points between the windows of a support set.
        min_stride: the fewest, where a past is too short for `stride`.
    """

    series: Series
    window: int
    horizon: int
    stride: int
    min_stride: int

    def past_needed(self, n_shot: int, n_query: int = 1) -> int:
        """Points that a past must have for one episode.

        Args:
            n_shot: windows of the support set.
            n_query: windows of the query set.

        Returns:
            A number of points.
        """
        return self._least_cut(n_shot) + n_query - 1 + self.horizon

    def sample(
        self, seed: int, episodes: tf.Tensor, n_shot: int, n_query: int
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Support and query of the episodes with the given numbers, both cut from pasts.

        The support's targets end where the first query begins to be forecast.

        Args:
            seed: Any integer.
            episodes: Episode numbers `[tasks]` int64.
            n_shot: Windows of the support set.
            n_query: Windows of the query set, one point apart.

        Returns:
            `(support_x, support_y, query_x, query_y)`, float32 `[tasks, n_shot, window]`,
            `[tasks, n_shot, horizon]` and so on.

        Raises:
            ValueError: for a past that is too short for an episode.
        """
        needed = self.past_needed(n_shot, n_query)
        self._check_lengths(needed)
        bits = random_bits(seed, episodes, 2)
        row = random_integers(bits[:, 0], len(self.series))
        n_cuts = tf.gather(self._lengths, row) - needed + 1
        cut = self._least_cut(n_shot) + random_integers(bits[:, 1], n_cuts)
        support = self._support(cut, n_shot)
        query = cut[:, None] + tf.range(n_query, dtype=tf.int64)
        start = tf.gather(self._starts, row)[:, None]
        return (*self._windows(start + support), *self._windows(start + query))

    def last(self, n_shot: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The episode of every series that ends with its past, and the unit of its forecasts.

        Args:
            n_shot: windows of the support set.

        Returns:
            `support_x`, `support_y` and `query_x`, as `sample` gives them, with one query, and
            `unit [n]`: a forecast `y` of the network stands for the values `unit * y`.

        Raises:
            ValueError: for a past that is too short for an episode.
        """
        self._check_lengths(self._least_cut(n_shot))
        starts, cut = self._starts[:, None], self._lengths
        support_x, support_y = self._windows(starts + self._support(cut, n_shot))
        places = (starts + cut[:, None])[..., None] + np.arange(-self.window, 0)
        window = tf.gather(self._values, places)
        unit = unit_of(window, self.series.period)
        inputs = {
            "support_x": support_x.numpy(),
            "support_y": support_y.numpy(),
            "query_x": tf.cast(window / unit, tf.float32).numpy(),
        }
        return inputs, unit[:, 0, 0].numpy()

    def _least_cut(self, n_shot: int) -> int:
        """The first time that has a support set before it."""
        return self.window + self.horizon + (n_shot - 1) * self.min_stride

    def _support(self, cut: tf.Tensor, n_shot: int) -> tf.Tensor:
        """Where the forecasts of the support begin, the oldest first, `[tasks, n_shot]`."""
        room = (cut - self.window - self.horizon) // max(1, n_shot - 1)
        stride = tf.minimum(tf.cast(self.stride, room.dtype), room)
        back = np.arange(n_shot, dtype=np.int64)[::-1]
        return cut[:, None] - self.horizon - stride[:, None] * back

    def _windows(self, cuts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What comes before and after places of the joined values, in units of what is before."""
        places = cuts[..., None] + np.arange(-self.window, self.horizon, dtype=np.int64)
        values = tf.gather(self._values, places)
        unit = unit_of(values[..., : self.window], self.series.period)
        values = tf.cast(values / unit, tf.float32)
        return values[..., : self.window], values[..., self.window :]

    def _check_lengths(self, needed: int) -> None:
        lengths = self.series.lengths
        if lengths.min() < needed:
            raise ValueError(
                f"Every past must have at least {needed} points for window={self.window}, "
                f"horizon={self.horizon} and the windows asked for. Received: "
                f"{int((lengths < needed).sum())} shorter series, such as "
                f"{self.series.ids[int(lengths.argmin())]!r} with {lengths.min()}. Lower `window`, "
                "`min_stride` or the shots, or leave them out with `series.longer_than(...)`."
            )

    @cached_property
    def _values(self) -> tf.Tensor:
        # An eager tensor is captured by a graph; an array would be copied into it as a constant.
        with tf.init_scope(), tf.device("CPU"):
            return tf.constant(np.concatenate(self.series.past))

    @cached_property
    def _lengths(self) -> tf.Tensor:
        with tf.init_scope(), tf.device("CPU"):
            return tf.constant(self.series.lengths)

    @cached_property
    def _starts(self) -> tf.Tensor:
        with tf.init_scope(), tf.device("CPU"):
            return tf.cumsum(tf.constant(self.series.lengths), exclusive=True)


def unit_of(window: tf.Tensor, period: int = 1) -> tf.Tensor:
    """The unit of a window and of its forecast: `sqrt(mean |x_t| mean |x_t - x_{t - period}|)`.

    It lies between the two units of the M competitions, sMAPE's level and MASE's change from season
    to season, so that an error counts alike in calm and in restless series. It looks at nothing
    that comes later.

    Args:
        window: `[..., window]`.
        period: points of a season; 1 for none. A window that is not longer counts as without.

    Returns:
        `[..., 1]`; 1 for a window of zeros. A change below a thousandth of the level counts as
        that.

    Example:
        >>> round(float(unit_of(tf.constant([1.0, 3.0, 5.0]))[0]), 4)
        2.4495
    """
    lag = period if window.shape[-1] > period else 1
    level = tf.reduce_mean(tf.abs(window), axis=-1, keepdims=True)
    changes = tf.abs(window[..., lag:] - window[..., :-lag])
    change = tf.reduce_sum(changes, axis=-1, keepdims=True) / max(1, window.shape[-1] - lag)
    unit = tf.sqrt(level * tf.maximum(change, 1e-3 * level))
    return tf.where(level > 0.0, unit, tf.ones_like(unit))


def forecast_tasks(
    series: Series, *, window: int, horizon: int, stride: int = 1, min_stride: int | None = None
) -> ForecastTasks:
    """Family of forecasting tasks for `episode_dataset`.

    A task is one series up to one time. Its support set is the latest windows of its past with what
    followed them; its query is the window before the cut, with the horizon after it. Each window
    and what follows it are in units of the window's own (`unit_of`).

    Args:
        series: the series; only their pasts are used.
        window: points that a forecast looks back at.
        horizon: points of a forecast.
        stride: points between the windows of a support set.
        min_stride: the fewest points between them: a past that is too short for `stride` has them
            closer, as far apart as they fit. None for `stride`.

    Returns:
        A task family; its `sample` gives float32 `[tasks, windows, points]`.

    Raises:
        ValueError: for sizes that are not positive integers, or a `min_stride` above `stride`.

    Example:
        >>> tasks = forecast_tasks(Series([np.arange(1.0, 60.0)]), window=8, horizon=3)
        >>> inputs, query_y = next(iter(episode_dataset(tasks, n_shot=5, n_query=1)))
        >>> inputs["support_x"].shape, query_y.shape
        (TensorShape([1, 5, 8]), TensorShape([1, 1, 3]))
    """
    min_stride = stride if min_stride is None else min_stride
    sizes = {"window": window, "horizon": horizon, "stride": stride, "min_stride": min_stride}
    check_counts(**sizes)
    if min_stride > stride:
        raise ValueError(
            "`min_stride` must not be above `stride`. "
            f"Received: min_stride={min_stride}, stride={stride}."
        )
    return ForecastTasks(series, **sizes)
