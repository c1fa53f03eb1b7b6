"""Sizes as arguments."""

from __future__ import annotations

from typing import Any


def is_size(value: Any) -> bool:
    """Whether a value is a positive integer.

    Args:
        value: anything.

    Returns:
        False for booleans too.

    Example:
        >>> is_size(3), is_size(0), is_size(2.0), is_size(True)
        (True, False, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def check_sizes(**sizes: Any) -> None:
    """Refuses what is not a positive integer.

    Args:
        **sizes: the sizes by name.

    Raises:
        ValueError: for the first that is not; it is named.

    Example:
        >>> check_sizes(filters=3)
    """
    for name, size in sizes.items():
        if not is_size(size):
            raise ValueError(f"`{name}` must be a positive integer. Received: {name}={size!r}.")
