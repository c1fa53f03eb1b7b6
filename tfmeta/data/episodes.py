"""Episodes as a `tf.data.Dataset` that `fit`, `evaluate` and `predict` take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import tensorflow as tf

from tfmeta.data.augment import RandomAffine
from tfmeta.data.counts import check_counts
from tfmeta.data.examples import Examples
from tfmeta.data.labelled import labelled_episodes, read_episodes
from tfmeta.prefetching import prefetched
from tfmeta.typing import EpisodeInputs

# Episodes drawn by one call at least: a call takes as long for one episode as for 32.
_BLOCK = 128

# Options of labelled examples, which change nothing when they are left out.
DEFAULTS: dict[str, Any] = {
    "balanced": True,
    "within_group": False,
    "weights": None,
    "query_source": None,
    "n_unknown": 0,
}

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
    source: Examples | Sequence[Examples] | TaskFamily,
    *,
    n_way: int | tuple[int, int] | None = None,
    n_shot: int | tuple[int, int],
    n_query: int,
    n_tasks: int = 1,
    seed: int = 0,
    start: int = 0,
    n_episodes: int | None = None,
    augment: RandomAffine | None = None,
    balanced: bool = True,
    within_group: bool = False,
    weights: Sequence[float] | None = None,
    query_source: Examples | None = None,
    n_unknown: int = 0,
) -> tf.data.Dataset:
    """Batches of `n_tasks` episodes, drawn from examples or from a family of regression tasks.

    Episode `i` is a pure function of `(seed, i)`: `start=` resumes exactly where an earlier
    dataset stopped, and a single bad episode can be looked at again with `start=i, n_episodes=1`.
    Its classes are distinct, support and query are disjoint, and labels are assigned anew.

    A pair for `n_way` or `n_shot` is a range, both ends included, of which every episode draws
    uniformly. A group with fewer classes than the drawn way, or a class with fewer examples than
    the drawn shot and `n_query`, gives what it has. Episodes are then padded to the largest way
    and shot, so that one trace serves all: padding repeats the first example of its episode and
    counts for nothing.

    Args:
        source: `Examples`, a list of them, or a `TaskFamily` such as `sinusoids()`.
        n_way: Classes an episode, or a range; `None` for a family of regression tasks.
        n_shot: Support examples a class (or a task), or a range.
        n_query: Query examples a class (or a task).
        n_tasks: Episodes a batch.
        seed: Not negative; the same seed gives the same episodes.
        start: Number of the first episode.
        n_episodes: Episodes in all, the last batch being smaller where `n_tasks` does not divide
            them; `None` for an infinite dataset.
        augment: Random distortion of support and query pictures, for training.
        balanced: With a range of shots: True for one shot for all classes of an episode (no more
            than its smallest class has), False for a shot of its own for every class, each
            uniform in the range.
        within_group: Whether all classes of an episode come from one group, such as an alphabet.
            A group is drawn with a probability proportional to its number of classes.
        weights: How often an episode comes from each source of a list, up to a factor; equally
            often by default. All classes of an episode come from one source.
        query_source: Examples of another domain that the queries come from; its classes bear the
            names of those of `source`, which gives the support.
        n_unknown: Classes that the query has and the support has not, for open-set evaluation.
            Their label is -1 and their queries are the last. Everything else in the episode is
            as without them.

    Returns:
        A dataset of `(inputs, query_y)`. `inputs` has `support_x`
        `[n_tasks, n_way * n_shot, ...]`, `support_y` `[n_tasks, n_way * n_shot]` int32, `query_x`
        `[n_tasks, (n_way + n_unknown) * n_query, ...]` and `episode` `[n_tasks]` int64, the
        number `i`; `query_y` is `[n_tasks, (n_way + n_unknown) * n_query]` int32. Positions are
        ordered by label. Examples keep their dtype (pictures are uint8). In regression, `y` is
        float `[n_tasks, ..., d]`. Where `n_way` or `n_shot` is a pair, the sizes are those of the
        largest, `inputs` has also `support_mask` (bool, False for padding), and the third element
        is `sample_weight` `[n_tasks, query]` float32, 0 for padding.

    Raises:
        ValueError: a count is not positive, a range is reversed, there are more ways than
            classes, a class has fewer than `n_shot + n_query` examples (a range: than the least
            `n_shot`), a group has fewer than the least `n_way` classes, sources do not fit each
            other, or an option does not fit the source.

    Example:
        >>> episodes = episode_dataset(examples, n_way=5, n_shot=1, n_query=15, n_tasks=32)
        >>> inputs, query_y = next(iter(episodes))
        >>> inputs["support_x"].shape, query_y.shape
        (TensorShape([32, 5, 28, 28, 1]), TensorShape([32, 75]))
        >>> varied = episode_dataset(examples, n_way=(2, 6), n_shot=(1, 5), n_query=3, n_tasks=32)
        >>> inputs, query_y, sample_weight = next(iter(varied))
        >>> inputs["support_mask"].shape, sample_weight.shape
        (TensorShape([32, 30]), TensorShape([32, 18]))
    """
    check_counts(n_tasks=n_tasks)
    if n_episodes is not None:
        check_counts(n_episodes=n_episodes)
    check_counts(least=0, seed=seed, start=start)
    options: dict[str, Any] = {
        "n_way": n_way,
        "n_shot": n_shot,
        "n_query": n_query,
        "balanced": balanced,
        "within_group": within_group,
        "weights": weights,
        "query_source": query_source,
        "n_unknown": n_unknown,
    }
    numbers = tf.data.Dataset.counter(start)
    if n_episodes is not None:
        numbers = numbers.take(n_episodes)
    even = n_episodes is None or n_episodes % n_tasks == 0
    if isinstance(source, TaskFamily):
        dataset = _of_family(source, numbers, n_tasks, even, seed=seed, **options)
    else:
        dataset = _of_examples(source, numbers, n_tasks, even, seed=seed, **options)
    if augment is not None:
        dataset = dataset.map(
            lambda inputs, *rest: (augmented(inputs, augment, seed), *rest),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    n_batches = tf.data.INFINITE_CARDINALITY if n_episodes is None else -(-n_episodes // n_tasks)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(n_batches))
    return prefetched(dataset)


def _of_examples(
    source: Examples | Sequence[Examples],
    numbers: tf.data.Dataset,
    n_tasks: int,
    even: bool,
    **options: Any,
) -> tf.data.Dataset:
    sources, draw = labelled_episodes(source, **options)
    block = n_tasks * max(1, _BLOCK // n_tasks)
    rows = numbers.batch(block).map(lambda i: (i, draw(i)))
    return rows.rebatch(n_tasks, drop_remainder=even).map(
        lambda i, drawn: read_episodes(sources, i, drawn), num_parallel_calls=tf.data.AUTOTUNE
    )


def _of_family(
    source: TaskFamily,
    numbers: tf.data.Dataset,
    n_tasks: int,
    even: bool,
    *,
    seed: int,
    n_shot: int,
    n_query: int,
    **options: Any,
) -> tf.data.Dataset:
    check_family(n_shot=n_shot, n_query=n_query, **options)
    return numbers.batch(n_tasks, drop_remainder=even).map(
        lambda i: sample_episodes(source, i, seed=seed, n_shot=n_shot, n_query=n_query),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


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


def check_family(*, n_shot: int, n_query: int, **options: Any) -> None:
    """Refuse counts and options that a family of regression tasks cannot give.

    Raises:
        ValueError: a count is no positive integer, or an option belongs to labelled examples.
    """
    check_counts(n_shot=n_shot, n_query=n_query)
    given = {k: v for k, v in options.items() if v is not None and np.any(v != DEFAULTS.get(k))}
    if given:
        name, value = next(iter(given.items()))
        raise ValueError(
            f"A family of regression tasks has neither classes nor groups: `{name}` belongs to "
            f"labelled examples. Received: {name}={value!r}. Leave `{name}` out."
        )
