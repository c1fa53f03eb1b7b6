"""Learners that learn nothing: what a result is worth is seen beside them."""

from __future__ import annotations

import tensorflow as tf

from tfmeta.typing import EpisodeInputs, Tensor


class NearestCentroid:
    """A control for classification: the class whose mean support example is nearest.

    `logits[q, k] = -|x_q - c_k|^2` on the raw numbers of the examples, with `c_k` the mean over
    the support of class k. What a learner scores above it, it owes to its representation.

    It is called like a learner, on a batch of episodes, and gives `[tasks, query, n_way]` with
    `n_way` the largest number of classes of any task; a class that a task does not have gets the
    lowest float. uint8 pictures are scaled to 0 ... 1.

    Args:
        name: what reports call it.

    Example:
        >>> inputs = {
        ...     "support_x": tf.constant([[[0.0], [1.0]]]),
        ...     "support_y": tf.constant([[0, 1]]),
        ...     "query_x": tf.constant([[[0.9]]]),
        ... }
        >>> int(tf.argmax(NearestCentroid()(inputs)[0, 0]))
        1
    """

    transductive = False

    def __init__(self, name: str = "nearest centroid on raw inputs") -> None:
        self.name = name

    def __call__(self, inputs: EpisodeInputs) -> Tensor:
        support = _flat(inputs["support_x"])
        queries = _flat(inputs["query_x"])
        members = _members(inputs)
        counts = tf.reduce_sum(members, axis=1)
        sums = tf.einsum("tsk,tsf->tkf", members, support)
        centroids = tf.math.divide_no_nan(sums, counts[..., tf.newaxis])
        products = tf.einsum("tqf,tkf->tqk", queries, centroids)
        norms = tf.reduce_sum(tf.square(centroids), axis=-1)[:, tf.newaxis]
        query_norms = tf.reduce_sum(tf.square(queries), axis=-1, keepdims=True)
        logits = 2.0 * products - norms - query_norms
        return tf.where(counts[:, tf.newaxis] > 0, logits, logits.dtype.min)


class MeanPredictor:
    """A control for regression: the mean of the support targets, whatever the query.

    It is called like a learner, on a batch of episodes, and gives `[tasks, query, d]`.

    Args:
        name: what reports call it.

    Example:
        >>> inputs = {
        ...     "support_x": tf.constant([[[0.0], [1.0]]]),
        ...     "support_y": tf.constant([[[2.0], [4.0]]]),
        ...     "query_x": tf.constant([[[0.9]]]),
        ... }
        >>> MeanPredictor()(inputs).numpy()
        array([[[3.]]], dtype=float32)
    """

    transductive = False

    def __init__(self, name: str = "mean of the support") -> None:
        self.name = name

    def __call__(self, inputs: EpisodeInputs) -> Tensor:
        targets = tf.convert_to_tensor(inputs["support_y"])
        weight = tf.cast(_support_mask(inputs), targets.dtype)[..., tf.newaxis]
        total = tf.reduce_sum(weight * targets, axis=1, keepdims=True)
        mean = tf.math.divide_no_nan(total, tf.reduce_sum(weight, axis=1, keepdims=True))
        return tf.repeat(mean, tf.shape(inputs["query_x"])[1], axis=1)


def _flat(x: Tensor) -> Tensor:
    x = tf.convert_to_tensor(x)
    flat = tf.reshape(x, tf.concat([tf.shape(x)[:2], [tf.reduce_prod(tf.shape(x)[2:])]], axis=0))
    return tf.cast(flat, tf.float32) / (255.0 if x.dtype == tf.uint8 else 1.0)


def _support_mask(inputs: EpisodeInputs) -> Tensor:
    mask = inputs.get("support_mask")
    if mask is None:
        return tf.ones(tf.shape(inputs["support_y"])[:2], tf.bool)
    return tf.cast(mask, tf.bool)


def _members(inputs: EpisodeInputs) -> Tensor:
    """`[tasks, support, n_way]`: 1 where an example belongs to a class, all 0 for padding."""
    labels = tf.cast(inputs["support_y"], tf.int32)
    labels = tf.where(_support_mask(inputs), labels, -1)
    return tf.one_hot(labels, tf.reduce_max(labels) + 1)
