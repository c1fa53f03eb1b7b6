"""What a learner with a training loss of its own needs of it."""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from tfmeta.learners.episode import Episode


class LabelledFeatures(NamedTuple):
    """Features `[n, ...]` and their class numbers `[n]`."""

    features: tf.Tensor
    labels: tf.Tensor

    @property
    def n_way(self) -> tf.Tensor:
        """The number of classes."""
        return tf.reduce_max(self.labels) + 1


class WeightedExamples(NamedTuple):
    """Features `[n, ...]`, their class numbers `[n]` and their weights in a loss `[n]`."""

    features: tf.Tensor
    labels: tf.Tensor
    weights: tf.Tensor


def all_examples(
    support: LabelledFeatures, query_features: tf.Tensor, episode: Episode
) -> WeightedExamples:
    """Support and query of an episode as one batch; the support has weight 1.

    Args:
        support: features and labels of the support.
        query_features: `[query, d]`.
        episode: whose `query_y` and `sample_weight` belong to the query.

    Returns:
        `WeightedExamples` of `n = support + query`.
    """
    query_y = tf.cast(episode.query_y, support.labels.dtype)
    ones = tf.ones(tf.shape(support.labels), query_features.dtype)
    weights = weights_of(episode.sample_weight, query_y, query_features.dtype)
    return WeightedExamples(
        tf.concat([support.features, query_features], axis=0),
        tf.concat([support.labels, query_y], axis=0),
        tf.concat([ones, weights], axis=0),
    )


def outer_loss(learner: keras.Model, loss: tf.Tensor) -> tf.Tensor:
    """A loss of one episode as the compiled loss would be: the share of one replica.

    The optimizer sums the gradients of replicas, and Keras' own losses are already divided. The
    regularisation losses of the learner's networks are added, as Keras adds them.

    Args:
        learner: whose `losses` are added.
        loss: a scalar.

    Returns:
        A scalar.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> float(outer_loss(tfmeta.learners.SiameseNetwork(backbone), tf.constant(2.0)))
        2.0
    """
    n_replicas = tf.distribute.get_strategy().num_replicas_in_sync
    added = [learner._aggregate_additional_loss(each) for each in learner.losses]
    return tf.add_n([loss / n_replicas, *added])


def weights_of(sample_weight: tf.Tensor | None, labels: tf.Tensor, dtype: str) -> tf.Tensor:
    """The weights of examples `[n]`: their sample weights, or ones.

    Example:
        >>> weights_of(None, tf.constant([0, 1]), "float32").numpy()
        array([1., 1.], dtype=float32)
    """
    if sample_weight is None:
        return tf.ones(tf.shape(labels), dtype)
    return tf.cast(sample_weight, dtype)
