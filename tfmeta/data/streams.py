"""Streams of labelled examples, in which every class comes back many times."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfmeta.data.counts import check_counts
from tfmeta.data.episodes import episode_dataset
from tfmeta.data.examples import Examples
from tfmeta.data.sampler import random_bits
from tfmeta.prefetching import prefetched

# Another stream of random bits than those that draw and distort the examples.
_STREAM = 0x2545F4914F6CDD1D


def stream_dataset(
    source: Examples,
    *,
    n_way: int = 5,
    n_presentations: int = 10,
    n_tasks: int = 1,
    seed: int = 0,
    **options: Any,
) -> tf.data.Dataset:
    """Batches of streams: examples of `n_way` classes in random order, `n_presentations` of each.

    The protocol of Santoro et al. 2016, section 4: 50 presentations of 5 classes, whose labels are
    drawn anew for every stream. A stream is an episode without the line between support and
    query, so that it is as much a function of `(seed, i)`.

    Args:
        source: `Examples`, or a list of them.
        n_way: classes of a stream.
        n_presentations: examples of each class, at least 2.
        n_tasks: streams a batch.
        seed: not negative; the same seed gives the same streams.
        **options: other arguments of `episode_dataset`: `start`, `n_episodes`, `augment`,
            `within_group`, `weights`.

    Returns:
        A dataset of `(inputs, stream_y)`. `inputs` has `stream_x`
        `[n_tasks, n_way * n_presentations, ...]` and `stream_y` int32, the same as the targets
        `[n_tasks, n_way * n_presentations]`.

    Raises:
        ValueError: for too few presentations, ranges or options that streams do not have, and
            what `episode_dataset` refuses.

    Example:
        >>> streams = stream_dataset(examples, n_way=3, n_presentations=4, n_tasks=2)
        >>> inputs, stream_y = next(iter(streams))
        >>> inputs["stream_x"].shape, stream_y.shape
        (TensorShape([2, 12, 28, 28, 1]), TensorShape([2, 12]))
    """
    check_counts(n_way=n_way)
    check_counts(least=2, n_presentations=n_presentations)
    check_counts(least=0, seed=seed)
    unknown = set(options) & {"n_shot", "n_query", "query_source", "n_unknown", "balanced"}
    if unknown:
        raise ValueError(
            "A stream has neither support nor query: `n_presentations` is the number of examples "
            f"of a class. Received: {sorted(unknown)}."
        )
    episodes = episode_dataset(
        source,
        n_way=n_way,
        n_shot=1,
        n_query=n_presentations - 1,
        n_tasks=n_tasks,
        seed=seed,
        **options,
    )
    return prefetched(episodes.map(lambda inputs, query_y: _stream(inputs, query_y, seed)))


def _stream(inputs: Any, query_y: tf.Tensor, seed: int) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    y = tf.concat([inputs["support_y"], query_y], axis=1)
    x = tf.concat([inputs["support_x"], inputs["query_x"]], axis=1)
    bits = random_bits(seed ^ _STREAM, inputs["episode"], y.shape[1])
    # Unsigned words have no sort; half of each is as random.
    order = tf.argsort(tf.cast(tf.bitwise.right_shift(bits, tf.constant(1, tf.uint64)), "int64"))
    x, y = (tf.gather(t, order, axis=1, batch_dims=1) for t in (x, y))
    return {"stream_x": x, "stream_y": y}, y
