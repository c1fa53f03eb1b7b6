"""Stateless draws of episodes: every draw is a pure function of `(seed, episode, position)`.

A counter-based generator gives the random bits of any episode directly, in the graph and for a
whole vector of episode numbers at once. `tf.random.experimental.index_shuffle` would be the
obvious tool, but on domains as small as a class (3 to 200 examples) its draws are measurably far
from uniform; a partial Fisher-Yates shuffle of good bits is exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


class EpisodeRows(NamedTuple):
    """Rows and labels of a batch of episodes; positions are ordered by label.

    Attributes:
        support_rows: int64 `[tasks, n_way * n_shot]`.
        support_y: int32 `[tasks, n_way * n_shot]`, labels `0 ... n_way - 1`.
        query_rows: int64 `[tasks, n_way * n_query]`.
        query_y: int32 `[tasks, n_way * n_query]`.
        classes: int64 `[tasks, n_way]`: the class that bears label 0, 1, ...
    """

    support_rows: tf.Tensor
    support_y: tf.Tensor
    query_rows: tf.Tensor
    query_y: tf.Tensor
    classes: tf.Tensor


def random_bits(seed: int, episodes: tf.Tensor, n_draws: int) -> tf.Tensor:
    """Random 64-bit words `[tasks, n_draws]` of the given episodes.

    `word[i, j] = mix(mix(mix(seed) + gamma * i) + gamma * (j + 1))`, the SplitMix64 generator of
    Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators" (2014), started anew for
    every episode.

    Args:
        seed: Any integer.
        episodes: Episode numbers `[tasks]` int64.
        n_draws: Words an episode.

    Returns:
        uint64 `[tasks, n_draws]`.

    Example:
        >>> words = random_bits(0, tf.range(3, dtype=tf.int64), 4)
        >>> words.shape, words.dtype.name
        (TensorShape([3, 4]), 'uint64')
    """
    gamma = tf.constant(_GOLDEN, tf.uint64)
    key = tf.constant(_mix_integer((int(seed) + 1) * _GOLDEN & _MASK), tf.uint64)
    start = _mix(key + gamma * tf.cast(episodes, tf.uint64))
    counters = np.arange(1, n_draws + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    return _mix(start[:, None] + tf.constant(counters))


def random_integers(bits: tf.Tensor, limits: tf.Tensor) -> tf.Tensor:
    """Uniform int64 in `0 ... limits - 1`: the upper 32 bits times the limit, over `2**32`.

    Args:
        bits: uint64 `[...]`.
        limits: Integers that broadcast to `bits`, below `2**32`. The bias is at most
            `limits / 2**32`.

    Returns:
        int64 `[...]`.
    """
    high = tf.bitwise.right_shift(bits, tf.constant(32, tf.uint64))
    scaled = high * tf.cast(limits, tf.uint64)
    return tf.cast(tf.bitwise.right_shift(scaled, tf.constant(32, tf.uint64)), tf.int64)


def random_uniform(bits: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Uniform float64 `[...]` in `[low, high)`, from the upper 53 bits of each word."""
    fraction = tf.cast(tf.bitwise.right_shift(bits, tf.constant(11, tf.uint64)), tf.float64)
    return low + (high - low) * (fraction * 2.0**-53)


def distinct_integers(bits: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Distinct int64 `[..., k]` in `0 ... size - 1`, every ordered choice equally likely.

    The first `k` places of a Fisher-Yates shuffle without the array of `size` numbers: place `j`
    swaps with `r[j]` in `j ... size - 1`, and what it then holds is found by following `r[j]`
    back through the earlier swaps.

    Args:
        bits: uint64 `[..., k]`.
        size: Integers `[...]` (or a scalar), each at least `k`.

    Returns:
        int64 `[..., k]`.

    Example:
        >>> bits = random_bits(0, tf.range(1, dtype=tf.int64), 3)
        >>> sorted(distinct_integers(bits, tf.constant([3]))[0].numpy().tolist())
        [0, 1, 2]
    """
    k = bits.shape[-1]
    places = tf.range(k, dtype=tf.int64)
    limits = tf.cast(size, tf.int64)[..., None] - places
    swaps = random_integers(bits, limits) + places
    held = swaps
    for t in reversed(range(k - 1)):
        later = held[..., t + 1 :]
        moved = tf.where(later == swaps[..., t : t + 1], tf.constant(t, tf.int64), later)
        held = tf.concat([held[..., : t + 1], moved], axis=-1)
    return held


def draw_episodes(
    seed: int,
    episodes: tf.Tensor,
    *,
    class_counts: tf.Tensor,
    rows_by_class: tf.Tensor,
    n_way: int,
    n_shot: int,
    n_query: int,
) -> EpisodeRows:
    """Rows and labels of the episodes with the given numbers.

    Classes of an episode are distinct, its support and query are disjoint, and the labels are
    assigned anew: label 0 is a random class. The work grows with the examples drawn, not with
    the number of classes or examples to draw from.

    Args:
        seed: Any integer.
        episodes: Episode numbers `[tasks]` int64.
        class_counts: Examples of each class `[n_classes]` int64.
        rows_by_class: Row numbers `[n]` int64 ordered by class.
        n_way: Classes an episode.
        n_shot: Support examples a class.
        n_query: Query examples a class.

    Returns:
        An `EpisodeRows`.
    """
    n_drawn = n_shot + n_query
    starts = tf.cumsum(class_counts, exclusive=True)
    bits = random_bits(seed, episodes, n_way * (1 + n_drawn))
    classes = distinct_integers(bits[:, :n_way], tf.size(class_counts))
    within = distinct_integers(
        tf.reshape(bits[:, n_way:], [-1, n_way, n_drawn]), tf.gather(class_counts, classes)
    )
    rows = tf.gather(rows_by_class, tf.gather(starts, classes)[..., None] + within)
    return EpisodeRows(
        support_rows=tf.reshape(rows[..., :n_shot], [-1, n_way * n_shot]),
        support_y=_labels(episodes, n_way, n_shot),
        query_rows=tf.reshape(rows[..., n_shot:], [-1, n_way * n_query]),
        query_y=_labels(episodes, n_way, n_query),
        classes=classes,
    )


def _labels(episodes: tf.Tensor, n_way: int, n_examples: int) -> tf.Tensor:
    labels = np.repeat(np.arange(n_way, dtype=np.int32), n_examples)
    return tf.tile(tf.constant(labels)[None], [tf.shape(episodes)[0], 1])


def _mix(words: tf.Tensor) -> tf.Tensor:
    def xor_shift(z: tf.Tensor, shift: int) -> tf.Tensor:
        return tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, tf.constant(shift, tf.uint64)))

    words = xor_shift(words, 30) * tf.constant(0xBF58476D1CE4E5B9, tf.uint64)
    words = xor_shift(words, 27) * tf.constant(0x94D049BB133111EB, tf.uint64)
    return xor_shift(words, 31)


def _mix_integer(word: int) -> int:
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    word = (word ^ word >> 27) * 0x94D049BB133111EB & _MASK
    return word ^ word >> 31
