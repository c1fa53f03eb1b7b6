"""One pass of a backbone over all tasks of a batch, each task normalised by itself."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfmeta.inner_loop import folded_seeds
from tfmeta.layers import call_with_task_axis, moving_statistics
from tfmeta.learners.batch_step import BatchStep
from tfmeta.learners.passes import Moments, query_source, support_source


def takes_moments(backbone: keras.Model, statistics: str, *, training: bool) -> bool:
    """Whether an example is normalised by others of its task.

    Args:
        backbone: a built Keras model.
        statistics: `"support"`, `"transductive"` or `"running"`.
        training: whether the pass is part of meta-training.

    Returns:
        A bool.

    Example:
        >>> takes_moments(keras.Sequential([keras.Input((1,))]), "support", training=True)
        False
    """
    by_moving = statistics == "running" and not training
    return bool(moving_statistics(backbone)) and not by_moving


def features_of_all(
    backbone: keras.Model,
    support_x: tf.Tensor,
    query_x: tf.Tensor,
    *,
    statistics: str,
    training: bool,
) -> tuple[tf.Tensor, tf.Tensor, Moments]:
    """Features of support and query of all tasks, and the moving statistics after the passes.

    Support and query go through the backbone together, or one after the other where each of them
    has batch statistics.

    Args:
        backbone: a built Keras model whose layers `layers_without_rule` does not name.
        support_x: `[tasks, support, ...]`.
        query_x: `[tasks, query, ...]`.
        statistics: `"support"`, `"transductive"` or `"running"`.
        training: whether this is part of meta-training.

    Returns:
        `[tasks, support, ...]`, `[tasks, query, ...]` and statistics `[tasks, channels]`.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> support, query, _ = features_of_all(
        ...     backbone, tf.zeros([4, 5, 2]), tf.zeros([4, 6, 2]), statistics="running",
        ...     training=False)
        >>> support.shape, query.shape
        (TensorShape([4, 5, 3]), TensorShape([4, 6, 3]))
    """

    def features(x: tf.Tensor, source: str, moments: Moments = ()) -> tuple[tf.Tensor, Moments]:
        return call_with_task_axis(
            backbone,
            x,
            (),
            source=source,
            training=training,
            moments=moments,
            shared=folded_seeds(backbone),
        )

    if not takes_moments(backbone, statistics, training=training):
        n_support = support_x.shape[1] or tf.shape(support_x)[1]
        together, moments = features(tf.concat([support_x, query_x], axis=1), "moving")
        return together[:, :n_support], together[:, n_support:], moments
    support, moments = features(support_x, support_source(statistics, training=training))
    before = () if statistics == "transductive" else moments
    query, moments = features(query_x, query_source(statistics, training=training), before)
    return support, query, moments


def batch_step(
    outputs: tf.Tensor, losses: tf.Tensor, gradients: Any, moments: Moments
) -> BatchStep:
    """A `BatchStep` whose gradients were taken of the mean loss; it cannot say whose are ill.

    Args:
        outputs: `[tasks, query, ...]`.
        losses: `[tasks]`.
        gradients: of the mean loss.
        moments: `[tasks, channels]`.

    Returns:
        The step; where a gradient is not finite though each loss is, all tasks are ill.

    Example:
        >>> batch_step(tf.zeros([2, 1, 1]), tf.zeros([2]), [tf.zeros([3])], ()).ill.numpy()
        array([-1, -1], dtype=int32)
    """
    gradients = tuple(gradients)
    are_finite = [tf.reduce_all(tf.math.is_finite(g)) for g in gradients]
    is_well = tf.math.is_finite(losses)
    by_loss = ~tf.reduce_all(is_well)
    is_well = is_well & (by_loss | tf.reduce_all(tf.stack(are_finite)))
    means = tuple(tf.reduce_mean(m, axis=0) for m in moments)
    return BatchStep(outputs, losses, tf.where(is_well, -1, 0), gradients, means)
