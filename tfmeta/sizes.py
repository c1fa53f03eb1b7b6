"""Sizes as arguments."""

from __future__ import annotations

from typing import Any


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
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"`{name}` must be a positive integer. Received: {name}={size!r}.")
