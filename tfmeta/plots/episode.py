"""One episode as a picture: support, queries, and what the learner took them for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfmeta.plots.style import GREEN, GREY, RED, PathLike, finish

# In units of a picture's width: a row leaves room under a query for the predicted class.
_ROW, _PICTURE, _GAP, _INCHES = 1.24, 0.92, 0.6, 0.72
_INCHES_PER_LETTER = 0.075
_LONGEST_NAME, _LONGEST_GUESS = 28, 13


def plot_episode(
    inputs: Mapping[str, Any],
    query_y: Any,
    outputs: Any = None,
    *,
    task: int = 0,
    class_names: Sequence[str] | None = None,
    max_shot: int = 5,
    max_query: int = 5,
    save: PathLike | None = None,
) -> Figure:
    """A figure of one episode: a row per class, support on the left, queries on the right.

    With `outputs`, a query has a green frame where it is classified rightly, and otherwise a red
    one with the class that it was taken for.

    Args:
        inputs: a batch of episodes of pictures, `[tasks, examples, height, width(, channels)]`.
        query_y: `[tasks, query]`.
        outputs: what a learner gave, `[tasks, query, n_way]`, or None.
        task: which episode of the batch.
        class_names: `[n_way]` names of this episode's classes.
        max_shot: support pictures that a row shows at most.
        max_query: queries that a row shows at most, the first ones of the class.
        save: a file to write to, or None.

    Returns:
        The figure.

    Raises:
        ValueError: for examples that are not pictures, or too few class names.

    Example:
        >>> inputs = {"support_x": np.zeros([1, 2, 8, 8]), "support_y": np.array([[0, 1]]),
        ...           "query_x": np.zeros([1, 2, 8, 8])}
        >>> figure = plot_episode(inputs, np.array([[0, 1]]))
        >>> len(figure.axes[0].images)
        4
    """
    support_x, query_x = (_pictures(inputs[key], task) for key in ("support_x", "query_x"))
    support_y, query_y = np.asarray(inputs["support_y"])[task], np.asarray(query_y)[task]
    if inputs.get("support_mask") is not None:
        real = np.asarray(inputs["support_mask"])[task].astype(bool)
        support_x, support_y = support_x[real], support_y[real]
    names = _class_names(class_names, n_way=int(support_y.max()) + 1)
    predicted = None if outputs is None else np.asarray(outputs)[task].argmax(axis=-1)
    shot = min(max_shot, int(np.bincount(support_y).max()))
    shown = min(max_query, int(np.bincount(query_y).max()))
    figure, ax = _episode_axes(names, shot, shown)
    title = _title(inputs, task, support_y, query_y, predicted)
    figure.suptitle(title, fontsize=10, y=1 - 0.12 / figure.get_figheight())
    for label, name in enumerate(names):
        ax.text(-0.15, label * _ROW + _PICTURE / 2, name, ha="right", va="center", fontsize=8)
        for column, picture in enumerate(support_x[support_y == label][:shot]):
            _draw(ax, picture, column, label, GREY)
        for column, query in enumerate(np.flatnonzero(query_y == label)[:shown]):
            guess = None if predicted is None else int(predicted[query])
            _draw_query(ax, query_x[query], shot + _GAP + column, label, guess, names)
    return finish(figure, save)


def _pictures(x: Any, task: int) -> np.ndarray:
    """Pictures of one task, `[n, height, width, 1 or 3]`, in 0 ... 1."""
    x = np.asarray(x)[task]
    if x.ndim == 3:
        x = x[..., np.newaxis]
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or x.dtype.kind not in "uifb":
        raise ValueError(
            "`inputs` must hold pictures [tasks, examples, height, width] with 1 or 3 channels "
            f"behind. Received: examples of shape {x.shape[1:]} and dtype {x.dtype}. "
            "For one-dimensional regression use `plot_regression`."
        )
    if x.dtype == np.uint8:
        return x / 255.0
    low, high = float(x.min()), float(x.max())
    return (x - low) / (high - low) if high > low else np.zeros(x.shape)


def _class_names(class_names: Sequence[str] | None, n_way: int) -> list[str]:
    if class_names is None:
        return [f"class {label}" for label in range(n_way)]
    if len(class_names) < n_way:
        raise ValueError(
            f"`class_names` must name the {n_way} classes of the episode. Received: "
            f"{len(class_names)} names. Give them in the order of the episode's labels."
        )
    return [_end_of(name, _LONGEST_NAME) for name in map(str, class_names[:n_way])]


def _end_of(name: str, length: int) -> str:
    """A long name's end, which is what tells "alphabet/character 7" and "... 8" apart."""
    return name if len(name) <= length else "…" + name[1 - length :]


def _episode_axes(names: Sequence[str], shot: int, shown: int) -> tuple[Figure, Axes]:
    inch = _INCHES if len(names) <= 10 else 0.7 * _INCHES
    width, height = shot + _GAP + shown, len(names) * _ROW + 0.45
    margin = 0.25 + _INCHES_PER_LETTER * max(map(len, names))
    size = max(margin + inch * width + 0.1, 4.2), inch * height + 0.45
    figure = Figure(figsize=size)
    ax = figure.add_axes((margin / size[0], 0.0, inch * width / size[0], inch * height / size[1]))
    ax.set_axis_off()
    ax.set_xlim(-0.04, width - 0.04)
    ax.set_ylim(height - 0.45, -0.45)
    ax.text((shot - 0.08) / 2, -0.12, "support", ha="center", fontsize=9, weight="bold")
    middle = shot + _GAP + (shown - 0.08) / 2
    ax.text(middle, -0.12, "queries", ha="center", fontsize=9, weight="bold")
    line = shot + _GAP / 2 - 0.04
    ax.plot([line, line], [-0.4, height - 0.75], color=GREY, lw=0.6)
    return figure, ax


def _title(
    inputs: Mapping[str, Any],
    task: int,
    support_y: np.ndarray,
    query_y: np.ndarray,
    predicted: np.ndarray | None,
) -> str:
    number = inputs.get("episode")
    ways, shots = np.unique(support_y, return_counts=True)
    n_shot = f"{shots[0]}" if len(set(shots)) == 1 else f"{shots.min()} to {shots.max()}"
    title = f"{len(ways)}-way {n_shot}-shot"
    if number is not None:
        title = f"episode {int(np.asarray(number)[task])}: {title}"
    if predicted is None:
        return title
    return f"{title}, {int(np.sum(predicted == query_y))} of {len(query_y)} queries right"


def _draw(ax: Axes, picture: np.ndarray, left: float, label: int, color: str) -> None:
    top = label * _ROW
    # `imshow` sets the limits of the axes to those of the last picture.
    limits = ax.get_xlim(), ax.get_ylim()
    ax.imshow(
        picture.squeeze(-1) if picture.shape[-1] == 1 else picture,
        cmap="gray",
        vmin=0.0,
        vmax=1.0,
        extent=(left, left + _PICTURE, top + _PICTURE, top),
        aspect="auto",
        interpolation="nearest" if min(picture.shape[:2]) < 64 else "antialiased",
    )
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])
    frame = Rectangle(
        (left, top), _PICTURE, _PICTURE, fill=False, ec=color, lw=0.5 if color == GREY else 2.0
    )
    ax.add_patch(frame)


def _draw_query(
    ax: Axes, picture: np.ndarray, left: float, label: int, guess: int | None, names: Sequence[str]
) -> None:
    if guess is None:
        _draw(ax, picture, left, label, GREY)
        return
    color = GREEN if guess == label else RED
    _draw(ax, picture, left, label, color)
    # A network may have more outputs than the episode has classes.
    name = names[guess] if guess < len(names) else f"class {guess}"
    text = "✓" if guess == label else f"✗ {_end_of(name, _LONGEST_GUESS)}"
    middle, under = left + _PICTURE / 2, (label + 1) * _ROW - 0.16
    ax.text(middle, under, text, ha="center", va="center", fontsize=5.5, color=color)
