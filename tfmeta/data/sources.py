"""Where the examples of episodes come from: one source or several, one domain or two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfmeta.data.examples import Examples


class Sources(NamedTuple):
    """Examples that episodes are read from; row numbers count through all sources of a side.

    Attributes:
        support: The sources of the support.
        query: Those of the query: the same, or one of another domain with the same classes.
        weights: How often an episode comes from each source; the sum is 1.
    """

    support: tuple[Examples, ...]
    query: tuple[Examples, ...]
    weights: tuple[float, ...]

    @property
    def has_two_domains(self) -> bool:
        """Whether support and query come from different examples."""
        return self.query is not self.support


def as_sources(
    source: Any, *, weights: Sequence[float] | None = None, query_source: Examples | None = None
) -> Sources:
    """The sources of episodes, from the arguments of `episode_dataset`.

    Args:
        source: `Examples`, or a list of them.
        weights: How often an episode comes from each of the list, up to a factor; `None` for
            equally often.
        query_source: Examples of the same classes that the queries come from.

    Returns:
        `Sources`.

    Raises:
        ValueError: anything but examples, examples of different shapes or dtypes, weights that do
            not fit, or a query source that is the source itself or has other classes.

    Example:
        >>> as_sources([examples, examples], weights=[1, 3]).weights
        (0.25, 0.75)
    """
    support = tuple(source) if isinstance(source, (list, tuple)) else (source,)
    if not support:
        raise ValueError("`source` must be Examples, or a list of them. Received an empty list.")
    for one in support:
        _check_examples("source", one)
        _check_alike("All sources", support[0], one)
    if not isinstance(source, (list, tuple)) and weights is not None:
        raise ValueError(
            "`weights` belong to a list of sources. Received one source and "
            f"weights={weights!r}. Leave `weights` out."
        )
    shares = _shares(weights, len(support))
    if query_source is None:
        return Sources(support, support, shares)
    _check_query_source(support, query_source)
    return Sources(support, (query_source,), shares)


def read_rows(
    sources: tuple[Examples, ...], rows: tf.Tensor, *, repeats: bool = False
) -> tf.Tensor:
    """Examples `[..., *example_shape]` of row numbers that count through all sources.

    Args:
        sources: Examples of one shape and dtype.
        rows: int64 `[...]`.
        repeats: Whether many rows occur more than once: an image file is then decoded once.

    Returns:
        The examples, in the order of `rows`.

    Example:
        >>> read_rows((examples, examples), tf.constant([[0, 120]], tf.int64)).shape
        TensorShape([1, 2, 28, 28, 1])
    """
    if repeats and any(source.is_lazy for source in sources):
        different, places = tf.unique(tf.reshape(rows, [-1]))
        x = tf.gather(read_rows(sources, different), tf.reshape(places, tf.shape(rows)))
    elif len(sources) == 1:
        return sources[0].read(rows)
    else:
        flat = _read_from_several(sources, tf.reshape(rows, [-1]))
        x = tf.reshape(flat, tf.concat([tf.shape(rows), tf.shape(flat)[1:]], axis=0))
    x.set_shape([*rows.shape, *sources[0].example_shape])
    return x


def _read_from_several(sources: tuple[Examples, ...], rows: tf.Tensor) -> tf.Tensor:
    """Each source reads its own rows only."""
    ends = np.cumsum([len(source) for source in sources])
    origin = tf.searchsorted(tf.constant(ends, tf.int64), rows, side="right")
    places = tf.dynamic_partition(tf.range(tf.size(rows)), origin, len(sources))
    parts = [
        source.read(tf.gather(rows, own) - int(end - len(source)))
        for source, own, end in zip(sources, places, ends, strict=True)
    ]
    return tf.dynamic_stitch(places, parts)


def _shares(weights: Sequence[float] | None, n_sources: int) -> tuple[float, ...]:
    try:
        numbers = np.asarray([1.0] * n_sources if weights is None else weights, np.float64)
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.shape != (n_sources,) or not np.isfinite(numbers).all() or numbers.min() <= 0:
        raise ValueError(
            f"`weights` must be one positive number for each of the {n_sources} sources. "
            f"Received: weights={weights!r}. Leave out a source that should not occur."
        )
    return tuple((numbers / numbers.sum()).tolist())


def _check_examples(argument: str, source: Any) -> None:
    if not isinstance(source, Examples):
        raise ValueError(
            f"`{argument}` must be Examples, a list of them, or a family of regression tasks with "
            f"a method `sample`. Received: {type(source).__name__}. Make examples with "
            "`from_arrays(x, y)`."
        )


def _check_alike(what: str, first: Examples, other: Examples) -> None:
    if (first.example_shape, first.dtype) != (other.example_shape, other.dtype):
        raise ValueError(
            f"{what} must have examples of one shape and dtype. Received: "
            f"{first.dtype} {first.example_shape} and {other.dtype} {other.example_shape}. "
            "Resize or convert one of them."
        )


def _check_query_source(support: tuple[Examples, ...], query_source: Any) -> None:
    _check_examples("query_source", query_source)
    if len(support) > 1:
        raise ValueError(
            "`query_source` goes with one source. Received a list of "
            f"{len(support)} sources. Make one dataset for each pair of domains."
        )
    if query_source is support[0] or query_source.x is support[0].x:
        raise ValueError(
            "`query_source` must be other examples than `source`, or support and query would "
            "share some. Received the same twice. Leave `query_source` out."
        )
    _check_alike("`source` and `query_source`", support[0], query_source)
    ours, theirs = set(support[0].class_names), set(query_source.class_names)
    if ours != theirs:
        raise ValueError(
            "`query_source` must have the classes of `source`, by name. Received: only in "
            f"`source` {_some(ours - theirs)}; only in `query_source` {_some(theirs - ours)}. "
            "Keep the shared classes with `select`."
        )


def _some(names: set[str]) -> str:
    shown = ", ".join(repr(name) for name in sorted(names)[:5])
    return f"{len(names)} ({shown})" if names else "none"
