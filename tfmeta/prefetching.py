"""Batches ahead of their use."""

from __future__ import annotations

import tensorflow as tf

_PREFETCHED = 4


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
