"""Counts, ranges and switches among the arguments of episodes, checked."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_counts(*, least: int = 1, **counts: Any) -> None:
    """Refuse counts that are not integers of at least `least`.

    Raises:
        ValueError: one is not; it is named.
    """
    for name, value in counts.items():
        if not _is_whole(value) or value < least:
            raise ValueError(
                f"`{name}` must be an integer of at least {least}. Received: {name}={value!r}."
            )


def check_flags(**flags: Any) -> None:
    """Refuse options that are neither True nor False.

    Raises:
        ValueError: one is not; it is named.
    """
    for name, value in flags.items():
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}.")


def as_range(name: str, value: Any) -> tuple[int, int]:
    """`(least, most)` from a pair, both included, or from one number.

    Args:
        name: What the message calls the argument.
        value: A positive integer, or a pair of them.

    Returns:
        The pair.

    Raises:
        ValueError: neither a positive integer nor an ordered pair of them.

    Example:
        >>> as_range("n_way", (5, 20)), as_range("n_way", 5)
        ((5, 20), (5, 5))
    """
    if not isinstance(value, (tuple, list)):
        check_counts(**{name: value})
        return int(value), int(value)
    if len(value) != 2 or not all(_is_whole(v) for v in value) or not 1 <= value[0] <= value[1]:
        raise ValueError(
            f"`{name}` must be a positive integer, or a pair (least, most) of them with least <= "
            f"most. Received: {name}={value!r}."
        )
    return int(value[0]), int(value[1])


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
