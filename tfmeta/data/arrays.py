"""Examples from arrays, with labels of any kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfmeta.data.arguments import as_examples, as_image_size
from tfmeta.data.examples import Examples
from tfmeta.data.pictures import resize_picture


def from_arrays(
    x: np.ndarray | Sequence[Any],
    y: np.ndarray | Sequence[int] | Sequence[str],
    *,
    class_names: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int = 3,
) -> Examples:
    """Examples from an array (or paths of image files) and labels of any kind.

    The different labels, sorted, are numbered `0 ...` and become the class names. Grey uint8
    pictures `[n, height, width]` get a channel axis; floating-point arrays stay as they are,
    since `[n, time, features]` looks the same.

    Args:
        x: Array `[n, ...]`, or `n` paths of image files (decoded lazily).
        y: Labels `[n]`: integers, with holes or not, or strings.
        class_names: One name a class, in the order of the sorted labels; or, where integer labels
            have holes, a list that the labels index.
        groups: One group a class, given as `class_names`.
        image_size: Size, or `(height, width)`, that uint8 pictures are resized to. Needed for
            paths.
        channels: 1 (grey) or 3 (RGB), for paths only.

    Returns:
        `Examples`.

    Raises:
        ValueError: as `Examples`, or labels that are neither integers nor strings, or a size
            for what are no uint8 pictures.

    Example:
        >>> from_arrays(np.zeros([3, 28, 28], np.uint8), ["dog", "cat", "dog"]).class_names
        ('cat', 'dog')
    """
    x = as_examples(x)
    values, labels = _number(y)
    is_lazy = x.dtype.kind == "U"
    if x.ndim == 3 and x.dtype == np.uint8:
        x = x[..., None]
    if image_size is not None and not is_lazy:
        x = resize_pictures(x, as_image_size(image_size))
    return Examples(
        x,
        labels,
        class_names=_per_class(class_names, values) or [str(value) for value in values],
        groups=_per_class(groups, values),
        image_size=as_image_size(image_size) if is_lazy and image_size is not None else None,
        channels=channels,
    )


def resize_pictures(x: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Pictures uint8 `[n, *image_size, channels]`, each resized; antialiased when they shrink.

    Raises:
        ValueError: `x` is not uint8 `[n, height, width, 1 or 3]`.
    """
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[-1] not in (1, 3):
        raise ValueError(
            "Only uint8 pictures [n, height, width, 1 or 3] can be resized. Received "
            f"{x.dtype} of shape {x.shape}. Leave `image_size` out, or resize them before."
        )
    if x.shape[1:3] == image_size:
        return x
    resized = np.empty((len(x), *image_size, x.shape[-1]), np.uint8)
    for i, picture in enumerate(x):
        resized[i] = resize_picture(picture, image_size)
    return resized


def _number(y: Any) -> tuple[np.ndarray, np.ndarray]:
    y = np.asarray(y)
    if y.dtype == object:
        y = np.asarray([str(label) if isinstance(label, str) else label for label in y])
    if y.ndim != 1 or y.dtype.kind not in "biuUS":
        raise ValueError(
            "`y` must be a flat list of integers or strings. "
            f"Received dtype {y.dtype}, shape {y.shape}. Convert one-hot rows with "
            "`y.argmax(axis=1)`, and floats with `y.astype(int)`."
        )
    values, labels = np.unique(np.char.decode(y) if y.dtype.kind == "S" else y, return_inverse=True)
    return values, labels


def _per_class(names: Sequence[str] | None, values: np.ndarray) -> list[str] | None:
    if names is None:
        return None
    indexes = values.dtype.kind in "iu" and values.min() >= 0 and values.max() < len(names)
    return [names[value] for value in values] if indexes else list(names)
