"""Episodes as a `tf.data.Dataset` that `fit`, `evaluate` and `predict` take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import tensorflow as tf

from tfmeta.data.augment import RandomAffine
from tfmeta.data.examples import Examples
from tfmeta.data.sampler import EpisodeRows, draw_episodes
from tfmeta.typing import EpisodeInputs

# Episodes drawn by one call at least: a call takes as long for one episode as for 32.
_BLOCK = 128
_PREFETCHED = 4

_Pair = tuple[EpisodeInputs, tf.Tensor]


@runtime_checkable
class TaskFamily(Protocol):
    """A source of regression tasks, drawn instead of stored (sinusoids, time series, ...)."""

    def sample(
        self, seed: int, episodes: tf.Tensor, n_shot: int, n_query: int
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Support and query of the episodes with the given numbers.

        A pure function of `seed` and each episode's number, in TensorFlow operations, with static
        shapes but for the number of tasks.

        Args:
            seed: Any integer.
            episodes: Episode numbers `[tasks]` int64.
            n_shot: Support examples.
            n_query: Query examples.

        Returns:
            `(support_x, support_y, query_x, query_y)`: `[tasks, n_shot, ...]`,
            `[tasks, n_shot, d]`, `[tasks, n_query, ...]`, `[tasks, n_query, d]`.
        """
        ...


def episode_dataset(
    source: Examples | TaskFamily,
    *,
    n_way: int | None = None,
    n_shot: int,
    n_query: int,
    n_tasks: int = 1,
    seed: int = 0,
    start: int = 0,
    n_episodes: int | None = None,
    augment: RandomAffine | None = None,
) -> tf.data.Dataset:
    """Batches of `n_tasks` episodes, drawn from examples or from a family of regression tasks.

    Episode `i` is a pure function of `(seed, i)`: `start=` resumes exactly where an earlier
    dataset stopped, and a single bad episode can be looked at again with `start=i, n_episodes=1`.
    Its classes are distinct, support and query are disjoint, and labels are assigned anew.

    Args:
        source: `Examples`, or a `TaskFamily` such as `sinusoids()`.
        n_way: Classes an episode; `None` for a family of regression tasks.
        n_shot: Support examples a class (or a task).
        n_query: Query examples a class (or a task).
        n_tasks: Episodes a batch.
        seed: Not negative; the same seed gives the same episodes.
        start: Number of the first episode.
        n_episodes: Episodes in all, the last batch being smaller where `n_tasks` does not divide
            them; `None` for an infinite dataset.
        augment: Random distortion of support and query pictures, for training.

    Returns:
        A dataset of `(inputs, query_y)`. `inputs` has `support_x`
        `[n_tasks, n_way * n_shot, ...]`, `support_y` `[n_tasks, n_way * n_shot]` int32, `query_x`
        `[n_tasks, n_way * n_query, ...]` and `episode` `[n_tasks]` int64, the number `i`;
        `query_y` is `[n_tasks, n_way * n_query]` int32. Positions are ordered by label. Examples
        keep their dtype (pictures are uint8). In regression, `y` is float `[n_tasks, ..., d]`.

    Raises:
        ValueError: a count is not positive, there are more ways than classes, a class has fewer
            than `n_shot + n_query` examples, or `n_way` does not fit the source.

    Example:
        >>> episodes = episode_dataset(examples, n_way=5, n_shot=1, n_query=15, n_tasks=32)
        >>> inputs, query_y = next(iter(episodes))
        >>> inputs["support_x"].shape, query_y.shape
        (TensorShape([32, 5, 28, 28, 1]), TensorShape([32, 75]))
    """
    check_counts(n_shot=n_shot, n_query=n_query, n_tasks=n_tasks)
    if n_episodes is not None:
        check_counts(n_episodes=n_episodes)
    check_counts(least=0, seed=seed, start=start)
    options: dict[str, Any] = {"n_way": n_way, "n_shot": n_shot, "n_query": n_query}
    check_source(source, **options)
    numbers = tf.data.Dataset.counter(start)
    if n_episodes is not None:
        numbers = numbers.take(n_episodes)
    even = n_episodes is None or n_episodes % n_tasks == 0
    if isinstance(source, Examples):
        draw = row_drawer(source, seed=seed, **options)
        block = n_tasks * max(1, _BLOCK // n_tasks)
        rows = numbers.batch(block).map(lambda i: (i, draw(i)))
        dataset = rows.rebatch(n_tasks, drop_remainder=even)
        dataset = dataset.map(
            lambda i, drawn: read_episodes(source, i, drawn), num_parallel_calls=tf.data.AUTOTUNE
        )
    else:
        dataset = numbers.batch(n_tasks, drop_remainder=even).map(
            lambda i: sample_episodes(source, i, seed=seed, n_shot=n_shot, n_query=n_query),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    if augment is not None:
        dataset = dataset.map(
            lambda inputs, query_y: (augmented(inputs, augment, seed), query_y),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    n_batches = tf.data.INFINITE_CARDINALITY if n_episodes is None else -(-n_episodes // n_tasks)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(n_batches))
    return prefetched(dataset)


def prefetched(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """A dataset that computes the next batches ahead, and that ends at once.

    TensorFlow tunes a pipeline in a thread that sleeps for ever longer, up to a minute, and whose
    end every `fit` and `evaluate` waits for. Episodes are drawn faster than any learner takes
    them: they go without.

    Args:
        dataset: any dataset.

    Returns:
        A dataset of the same elements.

    Example:
        >>> [int(i) for i in prefetched(tf.data.Dataset.range(2))]
        [0, 1]
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(_PREFETCHED).with_options(options)


def row_drawer(
    source: Examples, *, seed: int, n_way: int, n_shot: int, n_query: int
) -> Callable[[tf.Tensor], EpisodeRows]:
    """Function from episode numbers `[tasks]` to their `EpisodeRows`."""
    # Eager tensors are captured by the graph; arrays would be copied into it as constants.
    class_counts = tf.constant(source.class_counts, tf.int64)
    rows_by_class = tf.constant(source.rows_by_class, tf.int64)

    def draw(episodes: tf.Tensor) -> EpisodeRows:
        return draw_episodes(
            seed,
            episodes,
            class_counts=class_counts,
            rows_by_class=rows_by_class,
            n_way=n_way,
            n_shot=n_shot,
            n_query=n_query,
        )

    return draw


def read_episodes(source: Examples, episodes: tf.Tensor, drawn: EpisodeRows) -> _Pair:
    """The pair `(inputs, query_y)` of the episodes whose rows were drawn."""
    inputs = {
        "support_x": source.read(drawn.support_rows),
        "support_y": drawn.support_y,
        "query_x": source.read(drawn.query_rows),
        "episode": episodes,
    }
    return inputs, drawn.query_y


def augmented(inputs: EpisodeInputs, augment: RandomAffine, seed: int) -> EpisodeInputs:
    """The inputs with every picture of support and query distorted by draws of its own."""
    n_support = inputs["support_x"].shape[1]
    pictures = tf.concat([inputs["support_x"], inputs["query_x"]], axis=1)
    pictures = augment(pictures, seed=seed, episodes=inputs["episode"])
    return {
        **inputs,
        "support_x": pictures[:, :n_support],
        "query_x": pictures[:, n_support:],
    }


def sample_episodes(
    source: TaskFamily, episodes: tf.Tensor, *, seed: int, n_shot: int, n_query: int
) -> _Pair:
    """The pair `(inputs, query_y)` of the given episodes of a family of regression tasks."""
    support_x, support_y, query_x, query_y = source.sample(seed, episodes, n_shot, n_query)
    inputs = {
        "support_x": support_x,
        "support_y": support_y,
        "query_x": query_x,
        "episode": episodes,
    }
    return inputs, query_y


def check_source(source: Any, *, n_way: int | None, n_shot: int, n_query: int) -> None:
    """Refuse a source that cannot give such episodes.

    Raises:
        ValueError: the source is of an unknown kind, `n_way` does not fit it, or a class (which
            is named) has too few examples.
    """
    if isinstance(source, Examples):
        _check_classes(source, n_way, n_shot, n_query)
    elif not isinstance(source, TaskFamily):
        raise ValueError(
            "`source` must be Examples, or a family of regression tasks with a method `sample`. "
            f"Received: {type(source).__name__}. Make examples with `from_arrays(x, y)`."
        )
    elif n_way is not None:
        raise ValueError(
            "A family of regression tasks has no classes: `n_way` must be None. "
            f"Received: n_way={n_way}. Leave `n_way` out."
        )


def check_counts(*, least: int = 1, **counts: Any) -> None:
    """Refuse counts that are not integers of at least `least`.

    Raises:
        ValueError: one is not; it is named.
    """
    for name, value in counts.items():
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < least:
            raise ValueError(
                f"`{name}` must be an integer of at least {least}. Received: {name}={value!r}."
            )


def _check_classes(source: Examples, n_way: int | None, n_shot: int, n_query: int) -> None:
    if n_way is None:
        raise ValueError(
            "Episodes of labelled examples need the number of classes. Received: n_way=None. "
            f"Pass `n_way`, at most {source.n_classes}."
        )
    check_counts(n_way=n_way)
    if n_way > source.n_classes:
        raise ValueError(
            f"`n_way` must be at most the number of classes ({source.n_classes}). "
            f"Received: n_way={n_way}. Lower `n_way` or add classes."
        )
    few = np.flatnonzero(source.class_counts < n_shot + n_query)
    if few.size:
        worst = few[np.argmin(source.class_counts[few])]
        raise ValueError(
            f"Every class must have at least n_shot + n_query = {n_shot + n_query} examples. "
            f"Received {few.size} with fewer, such as {source.class_names[worst]!r} with "
            f"{source.class_counts[worst]}. Lower `n_shot` or `n_query`, or leave these classes "
            "out with `select`."
        )
