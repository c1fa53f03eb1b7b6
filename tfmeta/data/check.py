"""What is wrong with examples, and the cure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfmeta.data.examples import Examples


def check_examples(
    examples: Examples, *, n_way: int, n_shot: int, n_query: int, others: Iterable[Examples]
) -> list[str]:
    """List of what is wrong with `examples`, each with its cure."""
    raise NotImplementedError
