"""Curves over inner steps, over epochs, and over the inputs of a regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfmeta.intervals import mean_interval
from tfmeta.plots.style import (
    COLORS,
    GREY,
    RED,
    PathLike,
    clean,
    colors,
    finish,
    new_axes,
    scale_of,
)

Curve = Sequence[float] | np.ndarray


def plot_adaptation(
    values: Curve | Mapping[str, Any],
    *,
    metric: str = "accuracy",
    save: PathLike | None = None,
) -> Figure:
    """A figure of the query score before adaptation and after each inner step.

    Args:
        values: `[inner_steps + 1]` means; or `[episodes, inner_steps + 1]`, drawn as a mean with
            its 95 % interval; or a mapping from a curve's name to one of these; or the logs of
            `learner.evaluate(..., return_dict=True)` with `acc@0`, `acc@1`, ... or `mse@0`, ...
        metric: `"accuracy"` (a share, shown in per cent) or another name.
        save: a file to write to, or None.

    Returns:
        The figure.

    Raises:
        ValueError: for values that are not one or two axes.

    Example:
        >>> figure = plot_adaptation([0.2, 0.8, 0.9])
        >>> figure.axes[0].get_xlabel()
        'inner step'
    """
    figure, ax = new_axes()
    scale, unit = scale_of(metric)
    curves = _adaptation_curves(values)
    for (name, curve), color in zip(curves.items(), colors(len(curves)), strict=True):
        mean, half_width = _mean_curve(name, curve)
        steps = np.arange(len(mean))
        label = f"{name}: {scale * mean[0]:.3g} before, {scale * mean[-1]:.3g} after"
        ax.plot(steps, scale * mean, marker="o", color=color, label=label)
        if half_width is not None:
            low, high = scale * (mean - half_width), scale * (mean + half_width)
            ax.fill_between(steps, low, high, color=color, alpha=0.2, lw=0)
    ax.set_xlabel("inner step")
    ax.set_ylabel(f"query {metric}{unit}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False, fontsize=9)
    return finish(figure, save)


def plot_history(history: Any, *, save: PathLike | None = None) -> Figure:
    """A figure of the training curves: a panel per quantity, training and validation together.

    `acc@0`, `acc@1`, ... share one panel.

    Args:
        history: what `fit` returned, or its `history` dict of lists.
        save: a file to write to, or None.

    Returns:
        The figure.

    Raises:
        ValueError: for an empty history.

    Example:
        >>> figure = plot_history({"loss": [1.0, 0.5], "val_loss": [1.1, 0.7]})
        >>> len(figure.axes)
        1
    """
    curves: Mapping[str, Sequence[float]] = getattr(history, "history", history)
    if not curves or not any(len(values) for values in curves.values()):
        raise ValueError(
            "`history` must hold at least one epoch. Received: an empty one. Plot after `fit`."
        )
    panels: dict[str, list[str]] = {}
    for key in curves:
        base = key.removeprefix("val_").split("@")
        panels.setdefault(base[0] + ("@k" if len(base) > 1 else ""), []).append(key)
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.4 * columns, 3.2 * rows), layout="constrained")
    for number, (title, keys) in enumerate(panels.items(), start=1):
        ax = figure.add_subplot(rows, columns, number)
        _plot_panel(ax, title, {key: curves[key] for key in keys})
    return finish(figure, save)


def plot_regression(
    x: Any,
    y_true: Any,
    before: Any,
    after: Any,
    support_x: Any,
    support_y: Any,
    *,
    save: PathLike | None = None,
) -> Figure:
    """A figure of one regression task: the function, its support, and what was fitted.

    Args:
        x: `[n]` or `[n, 1]` inputs.
        y_true: `[n]` or `[n, 1]` values of the function.
        before: `[n]` or `[n, 1]` predictions before adaptation.
        after: predictions after adaptation, or a mapping from a name, such as "1 step", to them.
        support_x: `[support]` or `[support, 1]`.
        support_y: `[support]` or `[support, 1]`.
        save: a file to write to, or None.

    Returns:
        The figure.

    Example:
        >>> x = np.linspace(-5, 5, 50)
        >>> figure = plot_regression(x, np.sin(x), 0 * x, np.sin(x), x[:5], np.sin(x[:5]))
        >>> len(figure.axes[0].lines)
        4
    """
    x = np.ravel(x)
    order = np.argsort(x)
    after = after if isinstance(after, Mapping) else {"after": after}
    figure, ax = new_axes()
    ax.plot(x[order], np.ravel(y_true)[order], color="black", lw=1.2, label="true function")
    ax.plot(x[order], np.ravel(before)[order], color=GREY, ls="--", label="before")
    for (name, values), color in zip(after.items(), colors(len(after)), strict=True):
        ax.plot(x[order], np.ravel(values)[order], color=color, lw=2.0, label=name)
    ax.plot(
        *(np.ravel(support_x), np.ravel(support_y)),
        ls="none",
        marker="o",
        ms=6,
        color=RED,
        mec="white",
        label="support",
        zorder=5,
    )
    ax.set_xlabel("x")
    ax.set_ylabel("y")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return finish(figure, save)


def _adaptation_curves(values: Any) -> dict[str, Any]:
    """Curves by name, whatever form they came in."""
    if not isinstance(values, Mapping):
        return {"adaptation": values}
    at_steps: dict[str, dict[int, float]] = {}
    for key, value in values.items():
        name, at, step = str(key).rpartition("@")
        if at and step.isdigit():
            at_steps.setdefault(name, {})[int(step)] = value
    if not at_steps:
        return dict(values)
    return {name: [steps[k] for k in sorted(steps)] for name, steps in at_steps.items()}


def _mean_curve(name: str, curve: Any) -> tuple[np.ndarray, np.ndarray | None]:
    values = np.asarray(curve, np.float64)
    if values.ndim == 1 and values.size:
        return values, None
    if values.ndim == 2 and len(values) > 1:
        intervals = np.array([mean_interval(column) for column in values.T])
        return intervals[:, 0], intervals[:, 1]
    raise ValueError(
        "`values` must be [inner_steps + 1] means, or [episodes, inner_steps + 1] with at least "
        f"two episodes. Received: {name!r} of shape {values.shape}."
    )


def _plot_panel(ax: Axes, title: str, curves: Mapping[str, Sequence[float]]) -> None:
    """One quantity: training and validation, or a shade for each step `@k`."""
    clean(ax)
    names = list(dict.fromkeys(key.removeprefix("val_") for key in curves))
    color_of = dict(zip(names, colormaps["viridis"](np.linspace(0, 0.85, len(names))), strict=True))
    for key, values in curves.items():
        is_validation = key.startswith("val_")
        name = key.removeprefix("val_")
        label = ("validation" if is_validation else "training") if len(names) == 1 else key
        color = COLORS[is_validation] if len(names) == 1 else color_of[name]
        epochs = np.arange(1, len(values) + 1)
        ax.plot(epochs, values, color=color, label=label, marker="o", ms=3)
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False, fontsize=8)
