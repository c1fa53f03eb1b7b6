"""The distribution of the results of episodes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfmeta.plots.style import BLUE, ORANGE, PathLike, finish, new_axes, scale_of
from tfmeta.reports import EpisodeReport

_MOST_BARS = 30


def plot_report(
    report: EpisodeReport, *, ax: Axes | None = None, save: PathLike | None = None
) -> Figure:
    """A figure of the distribution of the episodes' results, with the mean and its interval.

    Args:
        report: what `evaluate_episodes` returned.
        ax: axes to draw into, or None for a new figure.
        save: a file to write to, or None.

    Returns:
        The figure.
    """
    figure, ax = new_axes() if ax is None else (ax.figure, ax)
    scale, unit = scale_of(report.metric)
    values = scale * np.asarray(report.per_episode)
    ax.hist(values, bins=_bins(values), color=BLUE, alpha=0.75, edgecolor="white", lw=0.5)
    mean, ci = scale * report.mean, scale * report.ci
    ax.axvspan(mean - ci, mean + ci, color=ORANGE, alpha=0.35, lw=0)
    interval = f"mean and its {100 * report.confidence:g} % interval"
    ax.axvline(mean, color=ORANGE, lw=1.8, label=interval)
    ax.set_xlabel(f"{report.metric} of an episode{unit}")
    ax.set_ylabel("episodes")
    ax.set_title("\n".join(filter(None, (report.name, str(report)))), fontsize=10)
    ax.legend(frameon=False, fontsize=9)
    return finish(figure, save)


def _bins(values: np.ndarray) -> list[float] | int:
    """Edges that put each possible share of right queries into one bar, where these are few."""
    seen = np.unique(np.round(values, 6))
    if len(seen) < 2:
        return [seen[0] - 0.5, seen[0] + 0.5]
    step = np.diff(seen).min()
    n_bars = round((seen[-1] - seen[0]) / step) + 1
    if n_bars > _MOST_BARS:
        return _MOST_BARS
    return (seen[0] + step * (np.arange(n_bars + 1) - 0.5)).tolist()
