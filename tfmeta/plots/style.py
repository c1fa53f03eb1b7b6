"""Colours, axes and files that all pictures share."""

from __future__ import annotations

import os
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

PathLike = str | os.PathLike[str]

BLUE, ORANGE, GREEN, RED, GREY = "#2563a8", "#d9822b", "#2e8b57", "#c0392b", "#8a8f98"
COLORS = (BLUE, ORANGE, GREEN, "#7b52ab", RED, "#5c4b3b", "#3aa6b9", GREY)
_DPI = 150


def new_axes() -> tuple[Figure, Axes]:
    """A figure with one pair of axes; made without pyplot, so nothing global is touched."""
    figure = Figure(figsize=(6.0, 3.8), layout="constrained")
    return figure, clean(figure.add_subplot())


def clean(ax: Axes) -> Axes:
    """The axes with a faint grid and no box."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    ax.set_axisbelow(True)
    return ax


def finish(figure: Any, save: PathLike | None) -> Any:
    """The figure, written to a file if one is named."""
    if save is not None:
        figure.savefig(save, dpi=_DPI)
    return figure


def colors(count: int) -> list[str]:
    """As many colours as curves; they repeat after eight."""
    return [COLORS[i % len(COLORS)] for i in range(count)]


def scale_of(metric: str) -> tuple[float, str]:
    """The factor and the unit in which a metric is shown: shares in per cent."""
    return (100.0, " (%)") if metric in ("accuracy", "acc") else (1.0, "")
