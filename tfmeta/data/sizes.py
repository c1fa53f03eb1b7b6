"""How large the episodes of labelled examples are: fixed, or drawn anew for every episode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tfmeta.data.counts import as_range, check_counts, check_flags


class EpisodeSizes(NamedTuple):
    """The sizes that an episode may have.

    Attributes:
        n_way: Least and largest number of classes.
        n_shot: Least and largest number of support examples of a class.
        n_query: Query examples of a class.
        balanced: Whether all classes of an episode have the same shot.
        n_unknown: Classes of which the query has examples and the support has none.
        is_padded: Whether episodes are padded to the largest way and shot.
    """

    n_way: tuple[int, int]
    n_shot: tuple[int, int]
    n_query: int
    balanced: bool
    n_unknown: int
    is_padded: bool


def episode_sizes(
    n_way: int | Sequence[int] | None,
    n_shot: int | Sequence[int],
    n_query: int,
    *,
    balanced: bool = True,
    n_unknown: int = 0,
) -> EpisodeSizes:
    """The sizes of episodes, from the arguments of `episode_dataset`.

    Args:
        n_way: Classes an episode, or a pair (least, most).
        n_shot: Support examples a class, or a pair (least, most).
        n_query: Query examples a class.
        balanced: False, if every class draws its own shot.
        n_unknown: Classes that only the query has.

    Returns:
        An `EpisodeSizes`.

    Raises:
        ValueError: counts that are none, ranges that are reversed, or `balanced=False` without a
            range of shots.

    Example:
        >>> episode_sizes((5, 20), 1, 15).is_padded
        True
    """
    check_flags(balanced=balanced)
    check_counts(n_query=n_query)
    check_counts(least=0, n_unknown=n_unknown)
    if n_way is None:
        raise ValueError(
            "Episodes of labelled examples need the number of classes. Received: n_way=None. "
            "Pass `n_way`."
        )
    ways, shots = as_range("n_way", n_way), as_range("n_shot", n_shot)
    if not balanced and shots[0] == shots[1]:
        raise ValueError(
            "`balanced=False` draws the shot of every class from a range. Received: "
            f"n_shot={n_shot}. Pass a pair such as `n_shot=(1, 10)`."
        )
    is_padded = isinstance(n_way, Sequence) or isinstance(n_shot, Sequence)
    return EpisodeSizes(ways, shots, int(n_query), bool(balanced), int(n_unknown), is_padded)
