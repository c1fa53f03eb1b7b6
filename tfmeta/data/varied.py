"""Draws of episodes whose way and shot vary, from pools of classes, with unknown classes.

Every draw is a pure function of `(seed, episode, position)`, as in `tfmeta.data.sampler`. With
fixed sizes, one pool and nothing unknown these are the draws of `draw_episodes`.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tfmeta.data.class_table import ClassRows, ClassTable
from tfmeta.data.sampler import distinct_integers, random_bits, random_integers, random_uniform
from tfmeta.data.sizes import EpisodeSizes

# Another stream than those of the examples and of their distortions.
_STREAM = 0x3C6EF372FE94F82B
_UNKNOWN = -1


class PaddedRows(NamedTuple):
    """Rows and labels of a batch of episodes, padded to the largest way and shot.

    Positions are ordered by label, with room for the largest shot of every label; the queries of
    unknown classes are the last. Padding repeats the first row of its episode and has label 0.

    Attributes:
        support_rows: int64 `[tasks, support]` with `support = most_way * most_shot`.
        support_y: int32 `[tasks, support]`, labels `0 ... n_way - 1`.
        query_rows: int64 `[tasks, query]` with `query = (most_way + n_unknown) * n_query`.
        query_y: int32 `[tasks, query]`; -1 for an unknown class.
        classes: int64 `[tasks, most_way + n_unknown]`: the class that bears label 0, 1, ..., then
            the unknown ones; -1 for padding.
        support_mask: bool `[tasks, support]`, False for padding.
        query_mask: bool `[tasks, query]`, False for padding.
    """

    support_rows: tf.Tensor
    support_y: tf.Tensor
    query_rows: tf.Tensor
    query_y: tf.Tensor
    classes: tf.Tensor
    support_mask: tf.Tensor
    query_mask: tf.Tensor


class _Draws(NamedTuple):
    """Sizes `[tasks]`, drawn of each episode: pool and way, and shots `[tasks, most_way]`."""

    pool: tf.Tensor
    n_way: tf.Tensor
    shots: tf.Tensor


def draw_varied_episodes(
    seed: int, episodes: tf.Tensor, *, table: ClassTable, sizes: EpisodeSizes
) -> PaddedRows:
    """Rows and labels of the episodes with the given numbers.

    Pool, way and shot are drawn first, uniformly within their ranges; then the way is capped by
    the classes of the pool, and the shot by the examples of the classes. Without the unknown
    classes the same `(seed, i)` gives the same support and the same known queries.

    Args:
        seed: Any integer.
        episodes: Episode numbers `[tasks]` int64.
        table: The classes, as arrays or tensors.
        sizes: The ranges.

    Returns:
        A `PaddedRows`.

    Example:
        >>> from tfmeta.data.class_table import class_table
        >>> from tfmeta.data.sizes import episode_sizes
        >>> from tfmeta.data.sources import as_sources
        >>> sizes = episode_sizes((2, 5), (1, 4), 15)
        >>> table = class_table(as_sources(examples), sizes)
        >>> numbers = tf.range(3, dtype=tf.int64)
        >>> draw_varied_episodes(0, numbers, table=table, sizes=sizes).support_y.shape
        TensorShape([3, 20])
    """
    most_way, most_shot = sizes.n_way[1], sizes.n_shot[1]
    n_known = most_way * (1 + most_shot + sizes.n_query)
    bits = random_bits(seed, episodes, n_known + sizes.n_unknown * (1 + sizes.n_query))
    known, unknown = bits[:, :n_known], bits[:, n_known:]
    drawn = _draw_sizes(seed, episodes, table, sizes)
    class_bits = tf.concat([known[:, :most_way], unknown[:, : sizes.n_unknown]], axis=1)
    classes, present = _draw_classes(class_bits, drawn, table, sizes)
    shots = _capped(drawn.shots, classes[:, :most_way], present[:, :most_way], table, sizes)
    support, query = _draw_examples(
        tf.reshape(known[:, most_way:], [-1, most_way, most_shot + sizes.n_query]),
        classes[:, :most_way],
        shots,
        table,
        sizes,
    )
    if sizes.n_unknown:
        words = tf.reshape(unknown[:, sizes.n_unknown :], [-1, sizes.n_unknown, sizes.n_query])
        counts = tf.gather((table.query or table.support).counts, classes[:, most_way:])
        query = tf.concat([query, distinct_integers(words, counts)], axis=1)
    used = tf.range(most_shot, dtype=tf.int64) < shots[..., None]
    return _padded(support, query, classes, present, used & present[:, :most_way, None], table)


def _draw_sizes(seed: int, episodes: tf.Tensor, table: ClassTable, sizes: EpisodeSizes) -> _Draws:
    (least_way, most_way), (least_shot, most_shot) = sizes.n_way, sizes.n_shot
    words = random_bits(seed ^ _STREAM, episodes, 3 + most_way)
    ends = tf.convert_to_tensor(table.pool_ends)
    pool = tf.searchsorted(ends, random_uniform(words[:, 0], 0.0, 1.0), side="right")
    n_way = least_way + random_integers(words[:, 1], tf.constant(most_way - least_way + 1))
    n_way = tf.minimum(n_way, tf.gather(table.pool_sizes, pool) - sizes.n_unknown)
    shot_words = tf.tile(words[:, 2:3], [1, most_way]) if sizes.balanced else words[:, 3:]
    shots = least_shot + random_integers(shot_words, tf.constant(most_shot - least_shot + 1))
    return _Draws(pool, n_way, shots)


def _draw_classes(
    bits: tf.Tensor, drawn: _Draws, table: ClassTable, sizes: EpisodeSizes
) -> tuple[tf.Tensor, tf.Tensor]:
    """Classes `[tasks, most_way + n_unknown]`, and which of them the episode has.

    A shuffle's first places do not depend on how many follow: the unknown classes are the next
    ones after the `n_way` known ones.
    """
    most_way, tasks = sizes.n_way[1], tf.shape(bits)[0]
    n_way = drawn.n_way[:, None]
    labels = tf.tile(tf.range(most_way, dtype=tf.int64)[None], [tasks, 1])
    after = n_way + tf.range(sizes.n_unknown, dtype=tf.int64)
    present = tf.concat([labels < n_way, tf.ones_like(after, tf.bool)], axis=1)
    places = distinct_integers(bits, tf.gather(table.pool_sizes, drawn.pool))
    places = tf.gather(places, tf.concat([labels, after], axis=1), batch_dims=1)
    # Places that an episode does not have may lie outside its pool.
    places = tf.where(present, places, 0)
    starts = tf.gather(table.pool_starts, drawn.pool)
    return tf.gather(table.pool_classes, starts[:, None] + places), present


def _capped(
    shots: tf.Tensor, classes: tf.Tensor, present: tf.Tensor, table: ClassTable, sizes: EpisodeSizes
) -> tf.Tensor:
    """Shots that every class has besides its queries; the same for all, if they are balanced."""
    room = tf.gather(table.support.counts, classes)
    if table.query is None:
        room -= sizes.n_query
    if sizes.balanced:
        room = tf.where(present, room, tf.int64.max)
        room = tf.reduce_min(room, axis=1, keepdims=True)
    return tf.minimum(shots, room)


def _draw_examples(
    words: tf.Tensor, classes: tf.Tensor, shots: tf.Tensor, table: ClassTable, sizes: EpisodeSizes
) -> tuple[tf.Tensor, tf.Tensor]:
    """Places within their classes: `[tasks, most_way, most_shot]` and `[..., n_query]`."""
    most_shot = sizes.n_shot[1]
    counts = tf.gather(table.support.counts, classes)
    if table.query is not None:
        query_counts = tf.gather(table.query.counts, classes)
        support = distinct_integers(words[..., :most_shot], counts)
        return support, distinct_integers(words[..., most_shot:], query_counts)
    places = distinct_integers(words, counts)
    after = shots[..., None] + tf.range(sizes.n_query, dtype=tf.int64)
    return places[..., :most_shot], tf.gather(places, after, batch_dims=2)


def _padded(
    support: tf.Tensor,
    query: tf.Tensor,
    classes: tf.Tensor,
    present: tf.Tensor,
    support_mask: tf.Tensor,
    table: ClassTable,
) -> PaddedRows:
    """Rows and labels of places within classes, flat."""
    most_way, n_columns = support.shape[1], classes.shape[1]
    query_mask = tf.tile(present[..., None], [1, 1, query.shape[2]])
    labels = [k if k < most_way else _UNKNOWN for k in range(n_columns)]
    labels = tf.constant(labels, tf.int32)[None, :, None]
    return PaddedRows(
        _row_numbers(table.support, classes[:, :most_way], support, support_mask),
        _flat(tf.where(support_mask, labels[:, :most_way], 0)),
        _row_numbers(table.query or table.support, classes, query, query_mask),
        _flat(tf.where(query_mask, labels, 0)),
        tf.where(present, classes, -1),
        _flat(support_mask),
        _flat(query_mask),
    )


def _row_numbers(
    of_class: ClassRows, classes: tf.Tensor, places: tf.Tensor, mask: tf.Tensor
) -> tf.Tensor:
    """Rows `[tasks, a * b]` at the places `[tasks, a, b]` within their classes `[tasks, a]`."""
    places = tf.gather(of_class.starts, classes)[..., None] + tf.where(mask, places, 0)
    rows = _flat(tf.gather(of_class.rows, places))
    return tf.where(_flat(mask), rows, rows[:, :1])


def _flat(x: tf.Tensor) -> tf.Tensor:
    """`[tasks, a, b]` as `[tasks, a * b]`."""
    return tf.reshape(x, [-1, x.shape[1] * x.shape[2]])
