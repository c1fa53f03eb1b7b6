"""Pictures of forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tfmeta.plots.style import GREY, PathLike, colors, finish, new_axes


def plot_forecast(
    past: Any,
    forecasts: Mapping[str, Any],
    *,
    future: Any = None,
    last: int | None = None,
    title: str | None = None,
    save: PathLike | None = None,
) -> Figure:
    """A figure of one series: its past, what followed, and forecasts by name.

    Args:
        past: `[time]`.
        forecasts: `[horizon]` each, by name.
        future: `[horizon]`, or None where it is not known.
        last: how many points of the past are shown; None for all.
        title: name of the series, or None.
        save: a file to write to, or None.

    Returns:
        The figure.

    Example:
        >>> figure = plot_forecast(np.arange(9.0), {"ours": np.array([9.0, 10.0])}, last=5)
        >>> [line.get_label() for line in figure.axes[0].lines]
        ['past', 'ours']
    """
    past = np.ravel(past)
    times = np.arange(len(past))
    shown = slice(None if last is None else max(0, len(past) - last), None)
    figure, ax = new_axes()
    ax.plot(times[shown], past[shown], color=GREY, lw=1.2, label="past")
    if future is not None:
        after = len(past) + np.arange(len(np.ravel(future)))
        ax.plot(after, np.ravel(future), color="black", lw=1.6, label="what followed")
    for (name, values), color in zip(forecasts.items(), colors(len(forecasts)), strict=True):
        after = len(past) + np.arange(len(np.ravel(values)))
        ax.plot(after, np.ravel(values), color=color, lw=1.6, label=name)
    ax.set_xlabel("time")
    if title is not None:
        ax.set_title(title)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return finish(figure, save)
