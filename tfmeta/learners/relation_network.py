"""Relation Networks (Sung, Yang, Zhang, Xiang, Torr and Hospedales 2018)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional import class_means
from tfmeta.layers import RelationModule, use_exact_layers
from tfmeta.learners import checks
from tfmeta.learners.embedding_learner import EmbeddingLearner
from tfmeta.learners.training_losses import outer_loss, weights_of

RELATION_LOSSES = ("mean_squared_error", "cross_entropy")
CLASS_FEATURES = ("sum", "mean")
_DEPEND_ON_OTHERS = (keras.layers.BatchNormalization, keras.layers.Dropout)


@keras.saving.register_keras_serializable("tfmeta")
class RelationNetwork(EmbeddingLearner):
    """Classifies a query by a learned comparison with each class.

    `r_k = sigmoid(g([sum_{i: y_i = k} f(x_i), f(x)]))` with `g` a network that sees class and query
    side by side (Sung et al. 2018, "Learning to Compare: Relation Network for Few-Shot Learning",
    equation 1). Training lowers the squared distance of `r_k` to 1 for the query's class and to 0
    for others (equation 2), where `fit` reports it as the loss; `evaluate` reports the compiled
    loss of the logits, which are the relation scores before the sigmoid.

    The paper's backbone gives feature maps: `tfmeta.models.conv4(flatten=False, n_poolings=2)`.

    Args:
        backbone: a built Keras model from an example to feature maps `[height, width, channels]`
            or to a feature vector.
        relation: a Keras layer that is called as `relation((class_features, query_features))` and
            gives logits `[query, n_way]`; None is `tfmeta.layers.RelationModule()`.
        relation_loss: `"mean_squared_error"` (the paper's) or `"cross_entropy"`, the compiled loss
            of the logits over the classes.
        class_features: `"sum"` of the features of a class (the paper's), or `"mean"`, which does
            not grow with the shots where these vary.
        **kwargs: `statistics`, `name` and other arguments of `EmbeddingLearner`.

    Raises:
        ValueError: for an unbuilt backbone, outputs that are neither maps nor vectors, a relation
            with batch normalisation or dropout, or an unknown option.

    Example:
        >>> backbone = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)])
        >>> learner = RelationNetwork(backbone)
        >>> state = learner.adapt(tf.zeros([2, 8, 8, 1]), tf.constant([0, 1]))
        >>> learner.predict_query(state, tf.zeros([5, 8, 8, 1])).shape
        TensorShape([5, 2])
    """

    nested_arguments = ("backbone", "relation")

    def __init__(
        self,
        backbone: keras.Model,
        *,
        relation: keras.Layer | None = None,
        relation_loss: str = "mean_squared_error",
        class_features: str = "sum",
        **kwargs: Any,
    ) -> None:
        checks.check_choice("relation_loss", relation_loss, RELATION_LOSSES)
        checks.check_choice("class_features", class_features, CLASS_FEATURES)
        super().__init__(backbone, **kwargs)
        if relation is None:
            relation = RelationModule(dtype=self.variable_dtype)
        if not relation.built:
            relation.build([backbone.output_shape, backbone.output_shape])
        _check_relation(relation)
        use_exact_layers(relation)
        self.relation = relation
        self.relation_loss = relation_loss
        self.class_features = class_features

    def fit_head(self, features, y, *, training=False) -> tf.Tensor:
        shape = features.shape[1:]
        n_way = tf.reduce_max(y) + 1
        flat = tf.reshape(features, [-1, shape.num_elements()])
        if self.class_features == "mean":
            of_classes = class_means(flat, y, n_way)
        else:
            of_classes = tf.matmul(tf.one_hot(y, n_way, dtype=flat.dtype), flat, transpose_a=True)
        return tf.reshape(of_classes, [-1, *shape])

    def query_logits(self, head, features):
        return tf.cast(self.relation((head, features)), self.variable_dtype)

    def training_loss(self, episode, head, query_features, logits):
        if self.relation_loss == "cross_entropy":
            return super().training_loss(episode, head, query_features, logits)
        targets = tf.one_hot(episode.query_y, tf.shape(logits)[1], dtype=logits.dtype)
        squares = tf.math.squared_difference(tf.sigmoid(logits), targets)
        weights = weights_of(episode.sample_weight, episode.query_y, logits.dtype)
        return outer_loss(self, tf.reduce_mean(weights[:, tf.newaxis] * squares))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "relation_loss": self.relation_loss,
            "class_features": self.class_features,
        }

    def _check_features(self) -> None:
        shape = self.backbone.output_shape
        if not isinstance(shape, tuple) or len(shape) not in (2, 4) or None in shape[1:]:
            raise ValueError(
                "`backbone` must give feature maps [batch, height, width, channels] or vectors "
                f"[batch, n] of a known size. Received: output shape {shape}. For maps take "
                "`tfmeta.models.conv4(flatten=False)`."
            )


def _check_relation(relation: keras.Layer) -> None:
    wrong = [x.name for x in relation._flatten_layers() if isinstance(x, _DEPEND_ON_OTHERS)]
    if wrong:
        raise ValueError(
            "`relation` must score a pair alike whatever the other pairs are, in training as in "
            f"prediction. Received: BatchNormalization or Dropout layers {wrong}. Normalise by "
            "group or by layer, and keep dropout in the backbone."
        )
