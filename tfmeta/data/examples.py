"""Labelled examples: the source that episodes are drawn from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from tfmeta.data.arguments import as_examples, as_image_size, as_labels, as_names, check_unique
from tfmeta.data.check import check_examples
from tfmeta.data.pictures import read_picture

_ROTATION = re.compile(r"/rot\d{3}$")


def unrotated(class_name: str) -> str:
    """Name of the class that `Examples.rotate` made this one from: `name` for `name/rot090`."""
    return _ROTATION.sub("", class_name)


class Examples:
    """Labelled examples: arrays, texts, or image files that are decoded when asked for.

    Pictures stay uint8; a learner scales them to 0..1 on the device. What a string is, its type
    says: str is the path of an image file, bytes (UTF-8) are a text, as `from_texts` makes them.

    Args:
        x: Array `[n, ...]` of examples, `n` paths of image files (decoded lazily), or `n` texts
            as bytes.
        y: Integer labels `[n]` that take every value of `0 ... n_classes - 1`.
        class_names: One unique name a class; by default its number.
        groups: One group a class (an alphabet, a script, a superclass), or `None`.
        image_size: `(height, width)` that lazy pictures are resized to; needed for paths only.
        channels: 1 (grey) or 3 (RGB), for lazy pictures only.
        turns: Quarter turns `[n]`, counter-clockwise as in `numpy.rot90`, of lazy pictures.

    Raises:
        ValueError: lengths differ, labels have holes or are no integers, names repeat, or
            paths come without `image_size`.

    Example:
        >>> examples = Examples(np.zeros([4, 28, 28, 1], np.uint8), [0, 0, 1, 1])
        >>> examples
        Examples(4 uint8 examples of shape (28, 28, 1), 2 classes)
        >>> examples.rotate().n_classes
        8
    """

    def __init__(
        self,
        x: np.ndarray | Sequence[Any],
        y: np.ndarray | Sequence[int],
        *,
        class_names: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        image_size: tuple[int, int] | None = None,
        channels: int = 3,
        turns: np.ndarray | Sequence[int] | None = None,
    ):
        self.x = as_examples(x)
        self.y = as_labels(y, len(self.x))
        n_classes = int(self.y.max()) + 1
        names = [str(i) for i in range(n_classes)] if class_names is None else class_names
        self.class_names = as_names(names, n_classes, "class_names")
        check_unique(self.class_names)
        self.groups = None if groups is None else as_names(groups, n_classes, "groups")
        self.image_size = None if image_size is None else as_image_size(image_size)
        self.channels = channels
        self.turns = None if turns is None else np.asarray(turns, np.int8)
        self._check_lazy_options()

    def _check_lazy_options(self) -> None:
        if self.is_lazy and self.image_size is None:
            raise ValueError(
                "Paths of image files need the size that they are resized to. "
                "Received: image_size=None. Pass `image_size=(height, width)`."
            )
        if self.channels not in (1, 3):
            raise ValueError(
                f"`channels` must be 1 (grey) or 3 (RGB). Received: channels={self.channels}."
            )
        if self.turns is not None and (not self.is_lazy or self.turns.shape != self.y.shape):
            raise ValueError(
                f"`turns` must hold one number for each of {len(self)} image files. Received "
                f"shape {self.turns.shape} for {'paths' if self.is_lazy else 'arrays'}. "
                "Rotate with `rotate()`."
            )

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        kind = "lazy " if self.is_lazy else ""
        if self.is_text:
            return f"Examples({len(self)} texts, {self.n_classes} classes)"
        return (
            f"Examples({len(self)} {kind}{self.dtype} examples of shape {self.example_shape}, "
            f"{self.n_classes} classes)"
        )

    @property
    def is_lazy(self) -> bool:
        """Whether `x` holds paths that are decoded when read."""
        return self.x.dtype.kind == "U"

    @property
    def is_text(self) -> bool:
        """Whether `x` holds texts, as UTF-8 bytes; `read` gives them as `tf.string`."""
        return self.x.dtype.kind == "O"

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of one example as `read` returns it."""
        if self.image_size is not None and self.is_lazy:
            return (*self.image_size, self.channels)
        return self.x.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        """NumPy dtype of the examples as `read` returns them."""
        return np.dtype(np.uint8) if self.is_lazy else self.x.dtype

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @cached_property
    def class_counts(self) -> np.ndarray:
        """Number of examples of each class, `[n_classes]` int64."""
        return np.bincount(self.y, minlength=self.n_classes)

    @cached_property
    def rows_by_class(self) -> np.ndarray:
        """Row numbers `[n]` int64 ordered by class, and within a class as they come."""
        return np.argsort(self.y, kind="stable").astype(np.int64)

    def select(self, classes: Iterable[int | str]) -> Examples:
        """Examples of some classes, relabelled `0 ...` in the order given.

        Args:
            classes: Class numbers or class names, each once.

        Returns:
            New examples; rows are ordered by class.

        Raises:
            ValueError: a class is unknown or given twice, or none is given.
        """
        numbers = self._class_numbers(classes)
        starts = np.concatenate([[0], np.cumsum(self.class_counts)])
        rows = [self.rows_by_class[starts[c] : starts[c + 1]] for c in numbers]
        chosen = np.concatenate(rows)
        return Examples(
            self.x[chosen],
            np.repeat(np.arange(len(numbers)), [len(r) for r in rows]),
            class_names=[self.class_names[c] for c in numbers],
            groups=None if self.groups is None else [self.groups[c] for c in numbers],
            image_size=self.image_size,
            channels=self.channels,
            turns=None if self.turns is None else self.turns[chosen],
        )

    def take(self, rows: np.ndarray | Sequence[int]) -> Examples:
        """Examples of some rows, with the classes as they are.

        Args:
            rows: Row numbers; every class must have one.

        Returns:
            New examples, in the order of `rows`.

        Raises:
            ValueError: a class is left without an example.
        """
        rows = np.asarray(rows, np.int64)
        return Examples(
            self.x[rows],
            self.y[rows],
            class_names=self.class_names,
            groups=self.groups,
            image_size=self.image_size,
            channels=self.channels,
            turns=None if self.turns is None else self.turns[rows],
        )

    def rotate(self) -> Examples:
        """Examples with four times the classes: each also turned by 90, 180 and 270 degrees.

        The turned pictures are new classes, named `name/rot090` and so on (the original becomes
        `name/rot000`), as in Vinyals et al., "Matching Networks for One Shot Learning" (2016).
        Turns are counter-clockwise, as in `numpy.rot90`. Split first and rotate the training
        part only.

        Raises:
            ValueError: the pictures are not square, or were rotated before.
        """
        shape = self.example_shape
        if len(shape) != 3 or shape[0] != shape[1]:
            raise ValueError(
                "Rotated classes need square pictures [height, width, channels]. "
                f"Received examples of shape {shape}. Pass a square `image_size` to the loader."
            )
        if self.is_rotated:
            raise ValueError(
                "These examples hold rotated classes already. Received class "
                f"{self.class_names[0]!r}. Call `rotate()` once, on the original examples."
            )
        if self.is_lazy:
            x = np.tile(self.x, 4)
        else:
            x = np.concatenate([np.rot90(self.x, k, axes=(1, 2)) for k in range(4)])
        return Examples(
            x,
            np.concatenate([self.y + k * self.n_classes for k in range(4)]),
            class_names=[f"{n}/rot{90 * k:03d}" for k in range(4) for n in self.class_names],
            groups=None if self.groups is None else self.groups * 4,
            image_size=self.image_size,
            channels=self.channels,
            turns=np.repeat(np.arange(4), len(self)) if self.is_lazy else None,
        )

    @property
    def is_rotated(self) -> bool:
        """Whether some class is another one turned, judged by the names that `rotate` gives."""
        return any(unrotated(name) != name for name in self.class_names)

    def read(self, rows: tf.Tensor) -> tf.Tensor:
        """Examples `[..., *example_shape]` of the row numbers `rows`, in eager mode or a graph.

        Args:
            rows: int64 `[...]`.

        Returns:
            A gather from memory, or the decoded image files.

        Raises:
            tf.errors.InvalidArgumentError: an image file is missing or corrupt; it is named.
        """
        if not self.is_lazy:
            return tf.gather(self._tensor, rows)
        x = tf.numpy_function(self._decode, [rows], tf.uint8, stateful=False)
        x.set_shape([*tf.convert_to_tensor(rows).shape, *self.example_shape])
        return x

    def read_row(self, row: int) -> np.ndarray:
        """Example `[*example_shape]` of one row number, as a NumPy array.

        Raises:
            ValueError: its image file is missing or corrupt; it is named.
        """
        if not self.is_lazy:
            return self.x[row]
        picture = read_picture(str(self.x[row]), image_size=self.image_size, channels=self.channels)
        return picture if self.turns is None else np.rot90(picture, self.turns[row])

    def check(
        self, n_way: int, *, n_shot: int = 1, n_query: int = 15, others: Iterable[Examples] = ()
    ) -> list[str]:
        """List of what is wrong with the examples for such episodes, each with its cure.

        Args:
            n_way: Classes of an episode.
            n_shot: Support examples of a class.
            n_query: Query examples of a class.
            others: The other splits, which must share neither classes nor pictures.

        Returns:
            One string a problem; empty when all is well. See `check_examples`.
        """
        return check_examples(self, n_way=n_way, n_shot=n_shot, n_query=n_query, others=others)

    @cached_property
    def _tensor(self) -> tf.Tensor:
        # An eager tensor is captured by a graph; an array would be copied into it as a constant.
        with tf.init_scope(), tf.device("CPU"):
            return tf.convert_to_tensor(self.x)

    def _decode(self, rows: np.ndarray) -> np.ndarray:
        pictures = [self.read_row(row) for row in rows.ravel()]
        return np.reshape(np.array(pictures, np.uint8), (*rows.shape, *self.example_shape))

    def _class_numbers(self, classes: Iterable[int | str]) -> list[int]:
        index = {name: i for i, name in enumerate(self.class_names)}
        given = list(classes)
        if not given:
            raise ValueError("At least one class must be selected. Received none.")
        unknown = [
            c
            for c in given
            if (c not in index if isinstance(c, str) else not 0 <= c < self.n_classes)
        ]
        if unknown:
            raise ValueError(
                f"Every class must be one of the {self.n_classes} classes, by number or name. "
                f"Received {len(unknown)} unknown, such as {unknown[:3]}. See `class_names`."
            )
        numbers = [index[c] if isinstance(c, str) else int(c) for c in given]
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"Each class may be selected once. Received: {given[:20]}.")
        return numbers
