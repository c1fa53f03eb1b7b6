"""FEAT: few-shot embedding adaptation with a transformer (Ye, Hu, Zhan and Sha 2020)."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.functional import class_means, squared_euclidean
from tfmeta.inner_loop import stateless_call
from tfmeta.layers import SetAttention
from tfmeta.learners import checks
from tfmeta.learners.embedding_learner import EmbeddingLearner
from tfmeta.learners.training_losses import LabelledFeatures, WeightedExamples, all_examples
from tfmeta.sizes import check_sizes


class AdaptedPrototypes(NamedTuple):
    """Prototypes `[n_way, features]` in the light of each other; the support while training."""

    prototypes: tf.Tensor
    support: LabelledFeatures | tuple[()]


@keras.saving.register_keras_serializable("tfmeta")
class FEAT(EmbeddingLearner):
    """Classifies a query by its distance to prototypes that a transformer has set apart.

    `p(y = k | x) = softmax_k(-|f(x) - T(c)_k|^2 / temperature)` with `c` the class means and `T`
    self-attention among them (`tfmeta.layers.SetAttention`), so that each class is described in
    view of the others it has to be told from (Ye et al. 2020, "Few-Shot Learning via Embedding
    Adaptation with Set-to-Set Functions", section 4). Permuting the classes permutes the outputs.

    Training adds `balance` times the paper's contrastive regulariser (equation 8): the examples
    of support and query, adapted among those of their own class, shall have means to which the
    class's own examples are nearest:

        -mean_i log softmax_k(-|f(x_i) - mean_{j: y_j = k} T(f(x))_j|^2 / regulariser_temperature)

    The paper starts from a backbone that was trained to classify all training classes, and trains
    it ten times more slowly than the transformer.

    Args:
        backbone: a built Keras model from an example to a feature vector.
        heads: attention heads.
        dropout: share of the attention's output that training drops.
        temperature: by which the squared distances are divided; 64 is the authors' for 64 features.
        balance: weight of the regulariser; 0 for none.
        regulariser_temperature: the temperature in the regulariser.
        **kwargs: `statistics`, `name` and other arguments of `EmbeddingLearner`.

    Raises:
        ValueError: for an unbuilt backbone, outputs that are not vectors, or an option out of
            range.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> learner = FEAT(backbone)
        >>> state = learner.adapt(tf.constant([[0.0, 1.0], [1.0, 0.0]]), tf.constant([0, 1]))
        >>> learner.predict_query(state, tf.constant([[0.0, 1.0]])).shape
        TensorShape([1, 2])
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        heads: int = 1,
        dropout: float = 0.5,
        temperature: float = 64.0,
        balance: float = 0.1,
        regulariser_temperature: float = 16.0,
        **kwargs: Any,
    ) -> None:
        check_sizes(heads=heads)
        checks.check_positive_number("temperature", temperature)
        checks.check_positive_number("regulariser_temperature", regulariser_temperature)
        _check_shares(dropout, balance)
        super().__init__(backbone, **kwargs)
        self.heads = heads
        self.dropout = dropout
        self.temperature = temperature
        self.balance = balance
        self.regulariser_temperature = regulariser_temperature
        self.transformer = SetAttention(heads, dropout, dtype=self.variable_dtype)
        self.transformer.build([(None, self.n_features), (None,)])

    def fit_head(self, features, y, *, training=False) -> AdaptedPrototypes:
        means = class_means(features, y, tf.reduce_max(y) + 1)
        one_set = tf.zeros(tf.shape(means)[:1], "int32")
        adapted = self._adapted(means, one_set, training=training)
        return AdaptedPrototypes(adapted, LabelledFeatures(features, y) if training else ())

    def query_logits(self, head, features):
        return -squared_euclidean(features, head.prototypes) / self.temperature

    def training_loss(self, episode, head, query_features, logits):
        loss = super().training_loss(episode, head, query_features, logits)
        if self.balance == 0.0:
            return loss
        examples = all_examples(head.support, query_features, episode)
        n_replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return loss + self.balance / n_replicas * self._regulariser(examples)

    def _regulariser(self, examples: WeightedExamples) -> tf.Tensor:
        features, labels, weights = examples
        adapted = self._adapted(features, labels, training=True)
        centres = class_means(adapted, labels, tf.reduce_max(labels) + 1)
        logits = -squared_euclidean(features, centres) / self.regulariser_temperature
        one_hot = tf.one_hot(labels, tf.shape(centres)[0], dtype=logits.dtype)
        losses = -tf.reduce_sum(one_hot * tf.nn.log_softmax(logits), axis=1)
        return tf.reduce_mean(weights * losses)

    def _adapted(self, features: tf.Tensor, groups: tf.Tensor, *, training: bool) -> tf.Tensor:
        # Stateless, so that dropout draws anew for every task and step.
        return stateless_call(self.transformer, (features, groups), training=training)[0]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "heads": self.heads,
            "dropout": self.dropout,
            "temperature": self.temperature,
            "balance": self.balance,
            "regulariser_temperature": self.regulariser_temperature,
        }


def _check_shares(dropout: float, balance: float) -> None:
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"`dropout` must be at least 0 and below 1. Received: dropout={dropout}.")
    if balance < 0.0:
        raise ValueError(f"`balance` must not be negative. Received: balance={balance}.")
