"""Episodes with and without their task axis: what goes into a learner's steps and comes out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from tfmeta.functional import accuracy, is_classification, mean_squared_error
from tfmeta.learners.passes import Moments

# The logit of a class that an episode does not have, where another of its batch does.
_ABSENT_CLASS = -1e9


class Episode(NamedTuple):
    """One episode, as the methods of a learner see it: no task axis."""

    inputs: dict[str, tf.Tensor]
    query_y: tf.Tensor
    sample_weight: tf.Tensor | None

    @property
    def support(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """`support_x`, `support_y` and `support_mask` (None where there is none)."""
        return self.inputs["support_x"], self.inputs["support_y"], self.inputs.get("support_mask")


class OuterStep(NamedTuple):
    """What one episode gives to the outer loop.

    `path` is the adapted weights before and after each inner step, for the message where numbers
    cease to be finite; `()` for a learner without inner steps.
    """

    outputs: tf.Tensor
    loss: tf.Tensor
    gradients: tuple[tf.Tensor, ...]
    moments: Moments
    path: Sequence[Sequence[tf.Tensor]] = ()


def has_classes(inputs: Mapping[str, tf.Tensor]) -> bool:
    """Whether a batch of episodes is a classification (and not a regression)."""
    return len(inputs["support_y"].shape) == 2


def episode_numbers(inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """The episodes' numbers `[tasks]`, or their places in the batch."""
    if "episode" in inputs:
        return tf.cast(inputs["episode"], "int64")
    return tf.range(tf.shape(inputs["support_x"], out_type="int64")[0])


def largest_n_way(inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """The largest number of classes of any task of a batch; padding does not count."""
    labels = inputs["support_y"]
    if "support_mask" in inputs:
        labels = tf.where(inputs["support_mask"], labels, 0)
    return tf.cast(tf.reduce_max(labels) + 1, "int32")


def pad_ways(logits: tf.Tensor, n_way: tf.Tensor) -> tf.Tensor:
    """Logits `[query, n_way]` of a task with fewer classes than others of its batch."""
    missing = n_way - tf.shape(logits)[1]
    return tf.pad(logits, [[0, 0], [0, missing]], constant_values=_ABSENT_CLASS)


def real_queries(
    task: Mapping[str, tf.Tensor],
) -> tuple[Episode, Callable[[tf.Tensor], tf.Tensor]]:
    """The episode without queries of weight 0, and how its outputs get back to their places."""
    inputs = {k: v for k, v in task.items() if k not in ("query_y", "sample_weight")}
    query_y, weight = task["query_y"], task.get("sample_weight")
    if weight is None:
        return Episode(inputs, query_y, None), lambda outputs: outputs
    real = tf.where(weight > 0)
    inputs["query_x"] = tf.gather_nd(inputs["query_x"], real)
    n_query = tf.shape(query_y, out_type="int64")[0]

    def restore(outputs: tf.Tensor) -> tf.Tensor:
        shape = tf.concat([[n_query], tf.shape(outputs, out_type="int64")[1:]], axis=0)
        return tf.scatter_nd(real, outputs, shape)

    return Episode(inputs, tf.gather_nd(query_y, real), tf.gather_nd(weight, real)), restore


def score(query_y: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Accuracy of an episode, or its mean squared error in a regression."""
    if is_classification(query_y, outputs):
        return accuracy(query_y, outputs)
    return mean_squared_error(tf.cast(query_y, outputs.dtype), outputs)


@contextlib.contextmanager
def restored_variable_scope() -> Iterator[None]:
    """Scope for `tf.map_fn`, which after an error leaves a caching device in its variable scope.

    Every later `strategy.scope()` of the process would fail on it.
    """
    scope = tf.compat.v1.get_variable_scope()
    caching_device = scope.caching_device
    try:
        yield
    finally:
        if not tf.executing_eagerly():
            scope.set_caching_device(caching_device)
