"""Episodes of labelled examples: which rows they have, and their batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfmeta.data.class_table import ClassTable, class_table
from tfmeta.data.counts import check_flags
from tfmeta.data.examples import Examples
from tfmeta.data.sampler import EpisodeRows, draw_episodes
from tfmeta.data.sizes import EpisodeSizes, episode_sizes
from tfmeta.data.sources import Sources, as_sources, read_rows
from tfmeta.data.varied import PaddedRows, draw_varied_episodes
from tfmeta.typing import EpisodeBatch

_Rows = EpisodeRows | PaddedRows


def labelled_episodes(
    source: Examples | Sequence[Examples],
    *,
    seed: int,
    weights: Sequence[float] | None = None,
    query_source: Examples | None = None,
    within_group: bool = False,
    **sizes: Any,
) -> tuple[Sources, Callable[[tf.Tensor], _Rows]]:
    """The sources of episodes, and the function that draws the rows of the episodes.

    Args:
        source: As the following ones, an argument of `episode_dataset`.
        seed: The seed.
        weights: Of several sources.
        query_source: Examples of another domain.
        within_group: Whether an episode stays in one group.
        **sizes: Arguments of `episode_sizes`.

    Returns:
        `(sources, draw)`, where `draw` takes episode numbers `[tasks]` int64.

    Raises:
        ValueError: such episodes cannot be drawn.

    Example:
        >>> sources, draw = labelled_episodes(examples, seed=0, n_way=5, n_shot=1, n_query=2)
        >>> numbers = tf.range(3, dtype=tf.int64)
        >>> inputs, query_y = read_episodes(sources, numbers, draw(numbers))
        >>> query_y.shape
        TensorShape([3, 10])
    """
    check_flags(within_group=within_group)
    sources = as_sources(source, weights=weights, query_source=query_source)
    episode = episode_sizes(**sizes)
    table = class_table(sources, episode, within_group=within_group)
    plain = not (episode.is_padded or episode.n_unknown or sources.has_two_domains)
    if plain and len(table.pool_sizes) == 1 and not within_group:
        return sources, _plain_drawer(seed, table, episode)
    return sources, _varied_drawer(seed, table, episode)


def read_episodes(sources: Sources, episodes: tf.Tensor, drawn: _Rows) -> EpisodeBatch:
    """The batch `(inputs, query_y)` of episodes, with `sample_weight` where they are padded.

    Args:
        sources: The examples.
        episodes: Episode numbers `[tasks]` int64.
        drawn: The rows of these episodes.

    Returns:
        The batch, see `episode_dataset`.
    """
    padded = isinstance(drawn, PaddedRows)
    inputs = {
        "support_x": read_rows(sources.support, drawn.support_rows, repeats=padded),
        "support_y": drawn.support_y,
        "query_x": read_rows(sources.query, drawn.query_rows, repeats=padded),
        "episode": episodes,
    }
    if not isinstance(drawn, PaddedRows):
        return inputs, drawn.query_y
    inputs["support_mask"] = drawn.support_mask
    return inputs, drawn.query_y, tf.cast(drawn.query_mask, tf.float32)


def _plain_drawer(
    seed: int, table: ClassTable, sizes: EpisodeSizes
) -> Callable[[tf.Tensor], EpisodeRows]:
    # Eager tensors are captured by the graph; arrays would be copied into it as constants.
    class_counts = tf.constant(table.support.counts, tf.int64)
    rows_by_class = tf.constant(table.support.rows, tf.int64)

    def draw(episodes: tf.Tensor) -> EpisodeRows:
        return draw_episodes(
            seed,
            episodes,
            class_counts=class_counts,
            rows_by_class=rows_by_class,
            n_way=sizes.n_way[0],
            n_shot=sizes.n_shot[0],
            n_query=sizes.n_query,
        )

    return draw


def _varied_drawer(
    seed: int, table: ClassTable, sizes: EpisodeSizes
) -> Callable[[tf.Tensor], _Rows]:
    tensors = tf.nest.map_structure(lambda a: None if a is None else tf.constant(a), table)

    def draw(episodes: tf.Tensor) -> _Rows:
        drawn = draw_varied_episodes(seed, episodes, table=tensors, sizes=sizes)
        return drawn if sizes.is_padded else EpisodeRows(*drawn[: len(EpisodeRows._fields)])

    return draw
