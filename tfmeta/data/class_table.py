"""The classes of all sources in one table, and the pools that an episode takes them from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfmeta.data.examples import Examples
from tfmeta.data.sizes import EpisodeSizes
from tfmeta.data.sources import Sources


class ClassRows(NamedTuple):
    """The rows of every class.

    Attributes:
        counts: Examples of each class `[n_classes]` int64.
        starts: Where each class begins in `rows`, `[n_classes]` int64.
        rows: Row numbers `[n]` int64, ordered by class.
    """

    counts: np.ndarray
    starts: np.ndarray
    rows: np.ndarray


class ClassTable(NamedTuple):
    """What the sampler needs to know of the sources; classes and rows count through all of them.

    All classes of an episode come from one pool: a source, or a group of one.

    Attributes:
        support: The rows that support examples are drawn from.
        query: Those of the queries; `None`, where both come from the same rows.
        pool_classes: Class numbers `[n_classes]` int64, ordered by pool.
        pool_starts: Where each pool begins in `pool_classes`, `[n_pools]` int64.
        pool_sizes: Number of classes of each pool `[n_pools]` int64.
        pool_ends: Cumulative probabilities of the pools but the last `[n_pools - 1]` float64.
    """

    support: ClassRows
    query: ClassRows | None
    pool_classes: np.ndarray
    pool_starts: np.ndarray
    pool_sizes: np.ndarray
    pool_ends: np.ndarray


class _Pool(NamedTuple):
    name: str
    classes: np.ndarray
    share: float


def class_table(sources: Sources, sizes: EpisodeSizes, *, within_group: bool = False) -> ClassTable:
    """The classes of the sources, after a check that such episodes can be drawn from them.

    A source is drawn by its weight, and a group with a probability proportional to its number of
    classes, so that every class of a source is drawn equally often where all groups are large
    enough.

    Args:
        sources: The examples.
        sizes: Of the episodes.
        within_group: Whether all classes of an episode come from one group.

    Returns:
        A `ClassTable`.

    Raises:
        ValueError: groups asked for and not there, a source, group or class (which is named) that
            is too small, or a largest way or shot that nothing has.

    Example:
        >>> from tfmeta.data.sizes import episode_sizes
        >>> from tfmeta.data.sources import as_sources
        >>> class_table(as_sources(examples), episode_sizes(5, 1, 15)).pool_sizes
        array([6])
    """
    pools = _pools(sources, within_group)
    _check_pools(pools, sizes, "group" if within_group else "source")
    support, query = _numbered(sources.support), None
    if sources.has_two_domains:
        query = _numbered(sources.query)
        index = {name: c for c, name in enumerate(sources.query[0].class_names)}
        order = [index[name] for name in sources.support[0].class_names]
        query = query._replace(counts=query.counts[order], starts=query.starts[order])
    names = [name for source in sources.support for name in source.class_names]
    _check_counts(names, support.counts, None if query is None else query.counts, sizes)
    pool_sizes = np.array([len(pool.classes) for pool in pools], np.int64)
    return ClassTable(
        support,
        query,
        pool_classes=np.concatenate([pool.classes for pool in pools]).astype(np.int64),
        pool_starts=np.cumsum(pool_sizes) - pool_sizes,
        pool_sizes=pool_sizes,
        pool_ends=np.cumsum([pool.share for pool in pools])[:-1],
    )


def _pools(sources: Sources, within_group: bool) -> list[_Pool]:
    pools, first = [], 0
    for s, (source, weight) in enumerate(zip(sources.support, sources.weights, strict=True)):
        if within_group and source.groups is None:
            raise ValueError(
                "`within_group=True` needs examples with groups. Received groups=None. "
                "Pass `groups=` to the loader, or leave `within_group` out."
            )
        groups = np.array(source.groups if within_group else [str(s)] * source.n_classes)
        for name in dict.fromkeys(groups.tolist()):
            classes = first + np.flatnonzero(groups == name)
            pools.append(_Pool(name, classes, weight * len(classes) / source.n_classes))
        first += source.n_classes
    return pools


def _numbered(sources: tuple[Examples, ...]) -> ClassRows:
    """Rows of the classes, both numbered through all sources."""
    counts = np.concatenate([source.class_counts for source in sources]).astype(np.int64)
    before = np.cumsum([0, *(len(source) for source in sources)])
    rows = [n + source.rows_by_class for n, source in zip(before, sources, strict=False)]
    return ClassRows(counts, np.cumsum(counts) - counts, np.concatenate(rows))


def _check_pools(pools: list[_Pool], sizes: EpisodeSizes, kind: str) -> None:
    (least, most), n_unknown = sizes.n_way, sizes.n_unknown
    received = f"n_way={least if least == most else sizes.n_way}"
    received += f", n_unknown={n_unknown}" if n_unknown else ""
    n_way = "`n_way` + `n_unknown`" if n_unknown else "`n_way`"
    largest = max(len(pool.classes) for pool in pools)
    if most + n_unknown > largest:
        of = "" if len(pools) == 1 else f" of the largest {kind}"
        raise ValueError(
            f"{n_way} must be at most the number of classes{of} ({largest}). "
            f"Received: {received}. Lower `n_way` or add classes."
        )
    small = [pool for pool in pools if len(pool.classes) < least + n_unknown]
    if small:
        shown = ", ".join(f"{pool.name!r} with {len(pool.classes)}" for pool in small[:5])
        raise ValueError(
            f"Every {kind} must have at least {n_way} = {least + n_unknown} classes. Received "
            f"{len(small)} of {len(pools)} with fewer: {shown}. Lower `n_way`, or leave "
            f"{'their classes out with `select`' if kind == 'group' else 'them out'}."
        )


def _check_counts(
    names: list[str], counts: np.ndarray, query_counts: np.ndarray | None, sizes: EpisodeSizes
) -> None:
    (least, most), n_query = sizes.n_shot, sizes.n_query
    if query_counts is None:
        _check_enough(names, counts, least + n_query, "n_shot + n_query", "")
        room = int(counts.max()) - n_query
    else:
        _check_enough(names, counts, least, "n_shot", " in `source`")
        _check_enough(names, query_counts, n_query, "n_query", " in `query_source`")
        room = int(counts.max())
    if most > room:
        raise ValueError(
            f"The largest `n_shot` must be at most what the largest class has besides its queries "
            f"({room}). Received: n_shot={sizes.n_shot}. Lower it; smaller classes give what they "
            "have."
        )


def _check_enough(names: list[str], counts: np.ndarray, least: int, what: str, where: str) -> None:
    few = np.flatnonzero(counts < least)
    if few.size:
        worst = few[np.argmin(counts[few])]
        raise ValueError(
            f"Every class must have at least {what} = {least} examples{where}. "
            f"Received {few.size} with fewer, such as {names[worst]!r} with "
            f"{counts[worst]}. Lower `n_shot` or `n_query`, or leave these classes "
            "out with `select`."
        )
