"""Time series of unequal lengths, each with its past and, where it is known, its future."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence

import numpy as np


class Series:
    """Time series of one period, of unequal lengths, in memory.

    Args:
        past: one array `[time]` for each series: what may be learned from.
        period: points of a season (24 for hours, 12 for months); 1 for none.
        ids: names of the series; numbers by default.
        future: one array for each series: what came after its past, to test on; or None.

    Attributes:
        past: list of float64 arrays.
        future: list of float64 arrays, or None.

    Raises:
        ValueError: for no series, an empty one, values that are missing or not finite (the series
            is named), names that repeat, or futures that differ in number.

    Example:
        >>> series = Series([np.arange(30.0), np.arange(50.0)], period=7)
        >>> series
        Series(2 series of 30 to 50 points, period 7)
    """

    def __init__(
        self,
        past: Sequence[np.ndarray],
        *,
        period: int = 1,
        ids: Sequence[str] | None = None,
        future: Sequence[np.ndarray] | None = None,
    ) -> None:
        self.ids = tuple(str(i) for i in (range(len(past)) if ids is None else ids))
        _check_counts(len(past), self.ids, future, period)
        self.past = [_as_values(x, i) for x, i in zip(past, self.ids, strict=True)]
        self.future = (
            None
            if future is None
            else [_as_values(x, i) for x, i in zip(future, self.ids, strict=True)]
        )
        self.period = period

    def __len__(self) -> int:
        return len(self.past)

    def __repr__(self) -> str:
        shortest, longest = min(self.lengths), max(self.lengths)
        return f"Series({len(self)} series of {shortest} to {longest} points, period {self.period})"

    @property
    def lengths(self) -> np.ndarray:
        """Points of each past, `[n]` int64."""
        return np.array([len(x) for x in self.past], np.int64)

    def select(self, rows: Iterable[int]) -> Series:
        """Some of the series, by their numbers.

        Args:
            rows: numbers of series.

        Returns:
            New `Series`.
        """
        rows = list(rows)
        return Series(
            [self.past[i] for i in rows],
            period=self.period,
            ids=[self.ids[i] for i in rows],
            future=None if self.future is None else [self.future[i] for i in rows],
        )

    def hold_out(self, horizon: int) -> Series:
        """The series without their last points, which become their future, to validate on.

        Args:
            horizon: points that are held out of every past.

        Returns:
            New `Series`.

        Raises:
            ValueError: for a past that is not longer than that.
        """
        short = [i for i, n in zip(self.ids, self.lengths, strict=True) if n <= horizon]
        if horizon < 1 or short:
            raise ValueError(
                "Every past must be longer than `horizon`, which is at least 1. Received: "
                f"horizon={horizon} and {len(short)} shorter series, such as {short[:3]}. "
                "Leave them out with `longer_than`."
            )
        return Series(
            [x[:-horizon] for x in self.past],
            period=self.period,
            ids=self.ids,
            future=[x[-horizon:] for x in self.past],
        )

    def longer_than(self, n_points: int) -> tuple[Series, tuple[str, ...]]:
        """The series with a longer past, and the names of those that are left out.

        Args:
            n_points: what a past must have more of.

        Returns:
            `(series, left_out)`.

        Raises:
            ValueError: where none is left.
        """
        is_long = self.lengths > n_points
        left_out = tuple(i for i, keep in zip(self.ids, is_long, strict=True) if not keep)
        return self.select(np.flatnonzero(is_long)), left_out


def series_from_csv(
    path: str | os.PathLike[str],
    *,
    id: str = "id",
    value: str = "value",
    period: int = 1,
    delimiter: str = ",",
) -> Series:
    r"""Series from a CSV file in long format: one row a point, in the order of time.

    Args:
        path: the file.
        id: column with the name of the series.
        value: column with the value.
        period: points of a season; 1 for none.
        delimiter: between two columns.

    Returns:
        `Series`, in the order in which they begin.

    Raises:
        ValueError: the file cannot be read, lacks a column, or has a value that is no number; the
            message has the line.

    Example:
        >>> _ = open("sales.csv", "w").write("id,value\na,1\na,2\nb,7\na,3\n")
        >>> [x.tolist() for x in series_from_csv("sales.csv").past]
        [[1.0, 2.0, 3.0], [7.0]]
    """
    points: dict[str, list[float]] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            missing = {id, value} - set(reader.fieldnames or ())
            if missing:
                raise ValueError(
                    f"{os.fspath(path)!r} must have the columns {id!r} and {value!r}. Received: "
                    f"{reader.fieldnames}. Pass `id=` and `value=` the names of the file."
                )
            for row in reader:
                points.setdefault(row[id], []).append(_number(row[value], path, reader.line_num))
    except OSError as error:
        raise ValueError(f"{os.fspath(path)!r} cannot be read: {error}. Check the path.") from error
    return Series([np.array(x) for x in points.values()], ids=list(points), period=period)


def series_from_npz(
    path: str | os.PathLike[str], *, kind: str | None = None, period: int = 1
) -> Series:
    """Series from an `.npz` file with all values joined.

    Arrays `train_values` and `train_offsets` `[n + 1]`, and where there are, `test_values`,
    `test_offsets`, `ids` and `period`, the kind of each series (such as `"HOURLY"`).

    Args:
        path: the file; nothing is unpickled.
        kind: the kind of series that is taken; None for all.
        period: points of a season; 1 for none.

    Returns:
        `Series`, with the test values as their future.

    Raises:
        ValueError: the file cannot be read, lacks an array, or has no series of the kind.

    Example:
        >>> series_from_npz("m4.npz", kind="HOURLY", period=24)  # doctest: +SKIP
        Series(414 series of 700 to 960 points, period 24)
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        past = _split(arrays, "train")
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{os.fspath(path)!r} must be an .npz file with train_values and train_offsets. "
            f"Received: {error}."
        ) from error
    kinds = arrays.get("period", np.full(len(past), ""))
    rows = [i for i in range(len(past)) if kind in (None, str(kinds[i]))]
    if not rows:
        raise ValueError(
            f"`kind` must be one of {sorted(set(kinds.tolist()))}. Received: kind={kind!r}."
        )
    future = _split(arrays, "test") if "test_values" in arrays else None
    ids = arrays.get("ids")
    return Series(
        past, period=period, ids=None if ids is None else ids.tolist(), future=future
    ).select(rows)


def _split(arrays: dict[str, np.ndarray], part: str) -> list[np.ndarray]:
    return np.split(arrays[f"{part}_values"], arrays[f"{part}_offsets"][1:-1])


def _number(text: str | None, path: str | os.PathLike[str], line: int) -> float:
    try:
        return float(text or "")
    except ValueError as error:
        raise ValueError(
            f"{os.fspath(path)!r}, line {line}: a value must be a number. Received: {text!r}. "
            "Fill the gap, or leave out the series."
        ) from error


def _check_counts(
    n_series: int, ids: tuple[str, ...], future: Sequence[np.ndarray] | None, period: int
) -> None:
    counts = {n_series, len(ids)} | (set() if future is None else {len(future)})
    if not n_series or len(counts) > 1:
        raise ValueError(
            "There must be a series, and as many `ids` and futures as series. Received: "
            f"{n_series} series, {len(ids)} ids, "
            f"{'no' if future is None else len(future)} futures."
        )
    if len(set(ids)) < len(ids):
        twice = sorted({i for i in ids if ids.count(i) > 1})
        raise ValueError(f"Every id must be there once. Received: {twice[:3]} more than once.")
    if period < 1:
        raise ValueError(f"`period` must be at least 1, for no season. Received: period={period}.")


def _as_values(values: np.ndarray, name: str) -> np.ndarray:
    try:
        values = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Values must be numbers. Received: series {name!r}: {error}.") from error
    if values.ndim != 1 or not len(values):
        raise ValueError(
            f"A series must be an array [time] with a point. Received: {name!r} of shape "
            f"{values.shape}."
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(
            f"Values must be finite. Received: series {name!r} with {len(bad)} missing or infinite "
            f"values, the first at point {bad[0]}. Fill them, or leave out the series."
        )
    return values
