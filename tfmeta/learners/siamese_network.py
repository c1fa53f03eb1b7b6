"""Siamese networks (Koch, Zemel and Salakhutdinov 2015)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional import (
    absolute_differences,
    balanced_mean,
    batch_hard_triplets,
    class_means,
    contrastive_loss,
    euclidean_distance,
    pair_cross_entropy,
    same_class,
    triplet_loss,
)
from tfmeta.learners import checks
from tfmeta.learners.embedding_learner import EmbeddingLearner
from tfmeta.learners.training_losses import LabelledFeatures, all_examples, outer_loss

CLASS_SCORES = ("best", "mean")
# What `margin=None` stands for.
_MARGINS = {"cross_entropy": None, "contrastive": 1.0, "triplet": "soft"}


@keras.saving.register_keras_serializable("tfmeta")
class SiameseNetwork(EmbeddingLearner):
    """Classifies a query by its most similar support example; learns from pairs of examples.

    One backbone `f` embeds both examples of a pair, and a pair's score is

        s(x, x') = sum_j alpha_j |f(x)_j - f(x')_j| + bias     for `pair_loss="cross_entropy"`,
        s(x, x') = -|f(x) - f(x')|                             for the other two,

    with `alpha` and `bias` learned and `sigmoid(s)` the probability that the two are of one class
    (Koch et al. 2015, "Siamese Neural Networks for One-shot Image Recognition", section 3.1). The
    logit of a class is the best or the mean score of the query with its support examples.

    Training takes support and query of an episode as one batch, and lowers a loss over all pairs in
    it: pairs of one class and of two count alike. For `"triplet"` each example is an anchor, with
    the farthest of its class and the nearest of the others. `fit` reports this loss; `evaluate`
    reports the compiled loss of the logits.

    Args:
        backbone: a built Keras model from an example to a feature vector.
        pair_loss: `"cross_entropy"` (Koch et al.), `"contrastive"` (Hadsell et al. 2006) or
            `"triplet"` (Schroff et al. 2015, mined as in Hermans et al. 2017).
        margin: of `"contrastive"`, a positive number (default 1); of `"triplet"`, a positive
            number or `"soft"` (default), for `log(1 + exp(.))` in place of a margin.
        class_score: `"best"` or `"mean"`.
        **kwargs: `statistics`, `name` and other arguments of `EmbeddingLearner`.

    Raises:
        ValueError: for an unbuilt backbone, outputs that are not vectors, an unknown option, or a
            margin that the loss does not take.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> learner = SiameseNetwork(backbone, pair_loss="triplet")
        >>> state = learner.adapt(tf.constant([[0.0, 1.0], [1.0, 0.0]]), tf.constant([0, 1]))
        >>> int(tf.argmax(learner.predict_query(state, tf.constant([[0.0, 1.0]]))[0]))
        0
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        pair_loss: str = "cross_entropy",
        margin: float | str | None = None,
        class_score: str = "best",
        **kwargs: Any,
    ) -> None:
        checks.check_choice("pair_loss", pair_loss, tuple(_MARGINS))
        checks.check_choice("class_score", class_score, CLASS_SCORES)
        _check_margin(pair_loss, margin)
        super().__init__(backbone, **kwargs)
        self.pair_loss = pair_loss
        self.margin: Any = _MARGINS[pair_loss] if margin is None else margin
        self.class_score = class_score
        if pair_loss == "cross_entropy":
            # From the start a longer distance is a lower score.
            start = keras.initializers.Constant(-(self.n_features**-0.5))
            self.similarity = keras.layers.Dense(
                1, kernel_initializer=start, dtype=self.variable_dtype, name="similarity"
            )
            self.similarity.build((None, self.n_features))

    def fit_head(self, features, y, *, training=False) -> LabelledFeatures:
        return LabelledFeatures(features, y)

    def query_logits(self, head, features):
        scores = self.pair_scores(features, head.features)
        if self.class_score == "mean":
            return tf.transpose(class_means(tf.transpose(scores), head.labels, head.n_way))
        is_other = 1.0 - tf.one_hot(head.labels, head.n_way, dtype=scores.dtype)
        return tf.reduce_max(scores[:, :, tf.newaxis] - 1e9 * is_other, axis=1)

    def pair_scores(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """How alike examples are.

        Args:
            x: features `[n, features]`.
            y: features `[m, features]`.

        Returns:
            `[n, m]`: a logit of being of one class, or minus the Euclidean distance.
        """
        if self.pair_loss == "cross_entropy":
            return self.similarity(absolute_differences(x, y))[..., 0]
        return -euclidean_distance(x, y)

    def training_loss(self, episode, head, query_features, logits):
        features, labels, weights = all_examples(head, query_features, episode)
        scores = self.pair_scores(features, features)
        if self.pair_loss == "triplet":
            return outer_loss(self, self._triplet_loss(-scores, labels, weights))
        return outer_loss(self, self._loss_of_pairs(scores, same_class(labels), weights))

    def _loss_of_pairs(
        self, scores: tf.Tensor, is_same: tf.Tensor, weights: tf.Tensor
    ) -> tf.Tensor:
        if self.pair_loss == "cross_entropy":
            losses = pair_cross_entropy(scores, is_same)
        else:
            losses = contrastive_loss(-scores, is_same, self.margin)
        # Each pair once, and no example with itself.
        ones = tf.ones_like(scores)
        upper = tf.linalg.band_part(ones, 0, -1) - tf.linalg.band_part(ones, 0, 0)
        return balanced_mean(losses, is_same, upper * weights[:, tf.newaxis] * weights)

    def _triplet_loss(
        self, distances: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
    ) -> tf.Tensor:
        positives, negatives, is_valid = batch_hard_triplets(distances, labels)
        losses = triplet_loss(positives, negatives, None if self.margin == "soft" else self.margin)
        is_valid = tf.cast(is_valid, losses.dtype)
        total = tf.reduce_sum(is_valid * weights * losses)
        return tf.math.divide_no_nan(total, tf.reduce_sum(is_valid))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pair_loss": self.pair_loss,
            "margin": self.margin,
            "class_score": self.class_score,
        }


def _check_margin(pair_loss: str, margin: Any) -> None:
    if margin is None or (pair_loss == "triplet" and margin == "soft"):
        return
    if pair_loss == "cross_entropy":
        raise ValueError(
            '`margin` is for pair_loss="contrastive" and "triplet". '
            f'Received: margin={margin!r} with pair_loss="cross_entropy". Leave it out.'
        )
    checks.check_positive_number("margin", margin)
