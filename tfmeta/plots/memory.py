"""Pictures of memory networks: reads and writes over time, gates, accuracy by instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfmeta.plots.style import PathLike, colors, finish, new_axes


def plot_memory(
    read_weights: Any,
    write_weights: Any,
    *,
    labels: Sequence[Any] | None = None,
    save: PathLike | None = None,
) -> Figure:
    """A figure of where a memory is written and read at every step of one stream.

    Args:
        read_weights: `[steps, heads, slots]`, or `[steps, slots]`; heads are added up.
        write_weights: `[steps, heads, slots]`, or `[steps, slots]`.
        labels: what stands below each step, for example its class.
        save: a file to write to, or None.

    Returns:
        The figure.

    Raises:
        ValueError: for weights of other shapes.

    Example:
        >>> weights = np.eye(6)[:, np.newaxis]
        >>> figure = plot_memory(weights, weights, labels=range(6))
        >>> [ax.get_title() for ax in figure.axes if ax.get_title()]
        ['write weights', 'read weights']
    """
    maps = {"write weights": write_weights, "read weights": read_weights}
    by_slot = {name: _over_heads(name, weights) for name, weights in maps.items()}
    return _heat_maps(by_slot, "slot", labels, save)


def plot_gates(
    gates: Any, *, labels: Sequence[Any] | None = None, save: PathLike | None = None
) -> Figure:
    """A figure of the gates of an LSTM at every step of one stream.

    Args:
        gates: `[steps, 3 units]`, input, forget and output gates between 0 and 1.
        labels: what stands below each step.
        save: a file to write to, or None.

    Returns:
        The figure.

    Raises:
        ValueError: for another shape.

    Example:
        >>> figure = plot_gates(np.full([4, 6], 0.5))
        >>> [ax.get_title() for ax in figure.axes if ax.get_title()]
        ['input gate', 'forget gate', 'output gate']
    """
    gates = np.asarray(gates)
    if gates.ndim != 2 or gates.shape[1] % 3:
        raise ValueError(
            f"`gates` must be [steps, 3 units]. Received: shape {gates.shape}. Take one stream of "
            "a trace: `trace.gates[0]`."
        )
    names = ("input gate", "forget gate", "output gate")
    parts = np.split(gates, 3, axis=1)
    return _heat_maps(dict(zip(names, parts, strict=True)), "unit", labels, save, largest=1.0)


def plot_instances(
    reports: Mapping[str, Any], *, chance: float | None = None, save: PathLike | None = None
) -> Figure:
    """A figure of the accuracy by how often a class was seen, with intervals.

    Args:
        reports: from a name to `(means, half_widths)`, each `[instances]`, shares; half widths
            may be None.
        chance: the accuracy of guessing, drawn as a line.
        save: a file to write to, or None.

    Returns:
        The figure.

    Example:
        >>> figure = plot_instances({"MANN": ([0.2, 0.8, 0.9], [0.02, 0.02, 0.01])}, chance=0.2)
        >>> figure.axes[0].get_xlabel()
        'instance of a class'
    """
    figure, ax = new_axes()
    for (name, (means, widths)), color in zip(reports.items(), colors(len(reports)), strict=True):
        means = 100.0 * np.asarray(means)
        numbers = np.arange(1, len(means) + 1)
        ax.plot(numbers, means, marker="o", color=color, label=name)
        if widths is not None:
            widths = 100.0 * np.asarray(widths)
            ax.fill_between(numbers, means - widths, means + widths, color=color, alpha=0.2, lw=0)
    if chance is not None:
        ax.axhline(100.0 * chance, color="black", ls=":", lw=1, label="chance")
    ax.set_xlabel("instance of a class")
    ax.set_ylabel("accuracy (%)")
    ax.set_ylim(0, 101)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False, fontsize=9)
    return finish(figure, save)


def _over_heads(name: str, weights: Any) -> np.ndarray:
    weights = np.asarray(weights)
    if weights.ndim not in (2, 3):
        raise ValueError(
            f"{name.capitalize()} must be [steps, heads, slots] or [steps, slots]. Received: shape "
            f"{weights.shape}. Take one stream of a trace: `trace.read_weights[0]`."
        )
    return weights.sum(axis=1) if weights.ndim == 3 else weights


def _heat_maps(
    maps: Mapping[str, np.ndarray],
    what: str,
    labels: Sequence[Any] | None,
    save: PathLike | None,
    *,
    largest: float | None = None,
) -> Figure:
    figure = Figure(figsize=(8.0, 2.6 * len(maps)), layout="constrained")
    for number, (title, values) in enumerate(maps.items(), start=1):
        ax = figure.add_subplot(len(maps), 1, number)
        image = ax.imshow(
            values.T, aspect="auto", interpolation="nearest", cmap="viridis", vmin=0.0, vmax=largest
        )
        figure.colorbar(image, ax=ax)
        ax.set_title(title, fontsize=10)
        ax.set_ylabel(what)
        _name_steps(ax, labels)
    return finish(figure, save)


def _name_steps(ax: Axes, labels: Sequence[Any] | None) -> None:
    ax.set_xlabel("step" if labels is None else "class of the step")
    if labels is not None:
        ax.set_xticks(range(len(labels)), [str(label) for label in labels], fontsize=6)
