"""Pictures of how optimizers lower losses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from tfmeta.intervals import mean_interval
from tfmeta.plots.style import PathLike, colors, finish, new_axes


def plot_optimization(
    curves: Mapping[str, np.ndarray], *, title: str | None = None, save: PathLike | None = None
) -> Figure:
    """A figure of the loss over the steps of several optimizers, on a logarithmic scale.

    Args:
        curves: by name, `[tasks, steps + 1]`: drawn as the mean over tasks with its 95 % interval.
        title: what was optimised, or None.
        save: a file to write to, or None.

    Returns:
        The figure.

    Example:
        >>> figure = plot_optimization({"Adam": np.ones((3, 11)), "ours": np.full((3, 11), 0.5)})
        >>> figure.axes[0].get_yscale()
        'log'
    """
    figure, ax = new_axes()
    for (name, values), color in zip(curves.items(), colors(len(curves)), strict=True):
        intervals = np.array([mean_interval(x) for x in np.transpose(values)])
        mean, half_width = intervals[:, 0], intervals[:, 1]
        steps = np.arange(len(mean))
        ax.plot(steps, mean, color=color, lw=1.6, label=f"{name}: {mean[-1]:.3g}")
        # Not below zero, which the scale could not show.
        low = np.maximum(mean - half_width, 0.1 * mean)
        ax.fill_between(steps, low, mean + half_width, color=color, alpha=0.2, lw=0)
    ax.set_yscale("log")
    ax.set_xlabel("step")
    ax.set_ylabel("loss")
    if title is not None:
        ax.set_title(title)
    ax.legend(frameon=False, fontsize=9)
    return finish(figure, save)
