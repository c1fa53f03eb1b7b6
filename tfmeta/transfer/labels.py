"""Labels of a target: every class of the head has examples, and no other class."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_labels(y: Any, n_classes: int) -> None:
    """Refuses class numbers that a head does not have, and classes without any example.

    Args:
        y: class numbers `[n]` or `[n, 1]`; labels of another kind are let pass.
        n_classes: classes of the head.

    Raises:
        ValueError: for such labels.

    Example:
        >>> check_labels(np.array([0, 1, 2, 0]), 3)
    """
    labels = np.asarray(y)
    is_numbers = labels.dtype.kind in "iu" and labels.size == len(labels)
    if not is_numbers:
        return
    found = np.unique(labels)
    others = [int(k) for k in found if not 0 <= k < n_classes]
    if others:
        raise ValueError(
            f"Labels must be class numbers 0 ... {n_classes - 1}, as the head has them. Received "
            f"also: {others[:5]}. Number the classes from 0, or give the head more of them."
        )
    empty = sorted(set(range(n_classes)) - {int(k) for k in found})
    if empty:
        raise ValueError(
            f"Each of the {n_classes} classes of the head must have examples. Received: none of "
            f"{empty[:5]}. Add examples, or leave the classes out and number the others anew."
        )
