"""Passes of an episode through a network, under the three ways to take statistics."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import tensorflow as tf

from tfmeta.inner_loop import stateless_call
from tfmeta.layers import moving_statistics, normalize_by

STATISTICS = ("support", "transductive", "running")
Values = Iterable[tuple[keras.Variable, tf.Tensor]]
Moments = tuple[tf.Tensor, ...]


def network_pass(
    network: keras.Model,
    x: tf.Tensor,
    *,
    source: str,
    values: Values = (),
    moments: Moments = (),
    training: bool = False,
) -> tuple[tf.Tensor, Moments]:
    """Outputs of a network, and the moving statistics after the pass.

    Args:
        network: a built Keras model with exact normalisation layers.
        x: `[n, ...]`.
        source: which statistics normalise `x`, see `tfmeta.layers.normalize_by`.
        values: pairs of a variable and the value that stands in for it.
        moments: values of the moving statistics before the pass; `()` for the variables' own.
        training: whether dropout and the like are on.

    Returns:
        Outputs `[n, ...]` and the moving statistics, in the order of `moving_statistics`.

    Example:
        >>> network = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
        >>> _ = use_exact_layers(network)
        >>> _, (mean, variance) = network_pass(network, tf.constant([[1.0, 2.0]]), source="batch")
        >>> mean.numpy()
        array([1., 2.], dtype=float32)
    """
    moving = moving_statistics(network)
    pairs = [*values, *(zip(moving, moments, strict=True) if moments else ())]
    with normalize_by(source):
        return stateless_call(network, x, values=pairs, training=training, read=moving)


def support_source(statistics: str, *, training: bool) -> str:
    """Where the pass of the support takes its statistics from.

    Args:
        statistics: `"support"`, `"transductive"` or `"running"`.
        training: whether the pass is part of meta-training.

    Returns:
        A source for `tfmeta.layers.normalize_by`.

    Example:
        >>> support_source("running", training=False)
        'moving'
    """
    if statistics == "running":
        return "update" if training else "moving"
    return "batch"


def query_source(statistics: str, *, training: bool) -> str:
    """Where the query pass takes its statistics from.

    Args:
        statistics: `"support"`, `"transductive"` or `"running"`.
        training: whether the pass is part of meta-training.

    Returns:
        A source for `tfmeta.layers.normalize_by`.

    Example:
        >>> query_source("running", training=False)
        'moving'
    """
    if training and statistics != "support":
        # By the batch, in one kernel: the statistics of a transductive pass are not asked for.
        return "update"
    return "batch" if statistics == "transductive" else "moving"
