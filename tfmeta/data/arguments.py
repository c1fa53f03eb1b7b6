"""Arguments of `Examples` and its loaders, checked and converted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def as_image_size(image_size: int | Sequence[int]) -> tuple[int, int]:
    """`(height, width)` from a pair, or from one number for square pictures.

    Raises:
        ValueError: not one or two positive integers.
    """
    size = tuple(image_size) if isinstance(image_size, Sequence) else (image_size, image_size)
    if len(size) != 2 or not all(isinstance(s, (int, np.integer)) and s > 0 for s in size):
        raise ValueError(
            "`image_size` must be (height, width), or one number for square pictures. "
            f"Received: image_size={image_size!r}."
        )
    return int(size[0]), int(size[1])


def as_examples(x: Any) -> np.ndarray:
    """Array `[n, ...]` of numbers, `[n]` of paths as strings, or `[n]` of texts as bytes objects.

    Raises:
        ValueError: no examples, of another kind, or paths or texts that are not one flat list.
    """
    if _holds_bytes(x):
        return as_texts(x)
    if isinstance(x, (list, tuple)) and x and all(isinstance(p, (str, os.PathLike)) for p in x):
        x = [os.fspath(p) for p in x]
    try:
        x = np.asarray(x)
    except ValueError as error:
        raise ValueError(
            f"`x` must hold examples of one shape. Received several ({error}). "
            "Resize or pad them first."
        ) from error
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"At least one example is expected. Received `x` of shape {x.shape}.")
    if x.dtype.kind not in "biufU" or (x.dtype.kind == "U" and x.ndim != 1):
        raise ValueError(
            "`x` must be an array of numbers [n, ...], or a flat list of paths of image files. "
            f"Received dtype {x.dtype}, shape {x.shape}. Convert the examples to one array; "
            "texts go through `from_texts`."
        )
    return x


def as_texts(texts: Any) -> np.ndarray:
    """Array `[n]` of objects: every text as UTF-8 bytes.

    Raises:
        ValueError: a text is neither str nor bytes, blank, or not UTF-8; its number is given.
    """
    array = np.empty(len(texts), object)
    for number, text in enumerate(texts):
        array[number] = as_text(text, where=f"text {number}")
    return array


def as_text(text: Any, *, where: str) -> bytes:
    """One text as UTF-8 bytes, without the blanks around it.

    Raises:
        ValueError: it is neither str nor bytes, blank, or not UTF-8; the message says `where`.
    """
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        if isinstance(decoded, str) and decoded.strip():
            return decoded.strip().encode("utf-8")
    except UnicodeError as error:
        raise ValueError(f"A text must be UTF-8. Received {where}: {text!r} ({error}).") from error
    raise ValueError(
        f"A text must be a string that is not blank. Received {where}: {text!r}. Mend it or leave "
        "it out."
    )


def _holds_bytes(x: Any) -> bool:
    if isinstance(x, np.ndarray) and x.dtype.kind not in "OS":
        return False
    is_flat = isinstance(x, (list, tuple)) or getattr(x, "ndim", 0) == 1
    return is_flat and len(x) > 0 and all(isinstance(text, bytes) for text in x)


def as_labels(y: Any, n: int) -> np.ndarray:
    """Labels `[n]` int32.

    Raises:
        ValueError: not `n` integers that take every value of `0 ... n_classes - 1`.
    """
    y = np.asarray(y)
    if y.shape != (n,):
        raise ValueError(
            f"`y` must hold one label for each of the {n} examples. Received shape {y.shape}."
        )
    if y.dtype.kind not in "iu":
        raise ValueError(
            f"`y` must hold integer labels. Received dtype {y.dtype}. "
            "Strings are numbered by `from_arrays`; convert whole numbers with `y.astype(int)`."
        )
    values = np.unique(y)
    if not np.array_equal(values, np.arange(len(values))):
        raise ValueError(
            f"`y` must take every value of 0 ... {len(values) - 1}. Received {len(values)} "
            f"different labels in {values[0]} ... {values[-1]}. Use `from_arrays`, which "
            "numbers them anew."
        )
    return y.astype(np.int32)


def as_names(names: Iterable[Any], n_classes: int, argument: str) -> tuple[str, ...]:
    """Names of the classes as a tuple of strings.

    Raises:
        ValueError: not one for each class; the message calls them `argument`.
    """
    result = tuple(str(name) for name in names)
    if len(result) != n_classes:
        raise ValueError(
            f"`{argument}` must hold one name for each of the {n_classes} classes. "
            f"Received {len(result)}."
        )
    return result


def check_unique(names: Iterable[str]) -> None:
    """Refuse class names that occur twice.

    Raises:
        ValueError: some do; the first few are named.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(
            f"Class names must differ. Received twice: {', '.join(repeated[:5])}. "
            "Merge these classes or rename them."
        )
