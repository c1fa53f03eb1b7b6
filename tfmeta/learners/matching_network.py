"""Matching Networks (Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra 2016)."""

from __future__ import annotations

from typing import Any

import keras

from tfmeta.functional import attention_log_probabilities, cosine_distance
from tfmeta.layers import QueryContext, SupportContext
from tfmeta.learners import checks
from tfmeta.learners.embedding_learner import EmbeddingLearner
from tfmeta.learners.training_losses import LabelledFeatures
from tfmeta.sizes import check_sizes


@keras.saving.register_keras_serializable("tfmeta")
class MatchingNetwork(EmbeddingLearner):
    """Classifies a query by attention over the support: a soft nearest neighbour.

    `p(y = k | x) = sum_{i: y_i = k} softmax_i(cos(f(x), g(x_i)) / temperature)` (Vinyals et al.
    2016, "Matching Networks for One Shot Learning", equation 1). The outputs are the logarithms of
    these probabilities, so that the default loss is the paper's.

    With `full_context=True` the embeddings see the whole support set: `g` by a bidirectional LSTM
    over the support, `f` by an LSTM that attends to it (`tfmeta.layers.SupportContext` and
    `QueryContext`; the order in which the support is given does not matter there either).

    Args:
        backbone: a built Keras model from an example to a feature vector.
        temperature: by which the cosines are divided. The paper has 1, with which the probability
            of a class of 20 cannot exceed `e / (e + 19 / e) = 0.28`.
        full_context: whether to use full context embeddings.
        processing_steps: attention steps of each query, with `full_context` only.
        **kwargs: `statistics`, `name` and other arguments of `EmbeddingLearner`.

    Raises:
        ValueError: for an unbuilt backbone, outputs that are not vectors, or an option out of
            range.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> learner = MatchingNetwork(backbone)
        >>> state = learner.adapt(tf.constant([[0.0, 1.0], [1.0, 0.0]]), tf.constant([0, 1]))
        >>> log_probabilities = learner.predict_query(state, tf.constant([[0.0, 1.0]]))
        >>> round(float(tf.reduce_sum(tf.exp(log_probabilities))), 4)
        1.0
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        temperature: float = 0.1,
        full_context: bool = False,
        processing_steps: int = 5,
        **kwargs: Any,
    ) -> None:
        checks.check_positive_number("temperature", temperature)
        check_sizes(processing_steps=processing_steps)
        super().__init__(backbone, **kwargs)
        self.temperature = temperature
        self.full_context = full_context
        self.processing_steps = processing_steps
        if full_context:
            shape = (None, self.n_features)
            self.support_context = SupportContext(dtype=self.variable_dtype)
            self.support_context.build(shape)
            self.query_context = QueryContext(processing_steps, dtype=self.variable_dtype)
            self.query_context.build([shape, shape])

    def fit_head(self, features, y, *, training=False) -> LabelledFeatures:
        if self.full_context:
            features = self.support_context(features)
        return LabelledFeatures(features, y)

    def query_logits(self, head, features):
        if self.full_context:
            features = self.query_context((features, head.features))
        similarities = -cosine_distance(features, head.features) / self.temperature
        return attention_log_probabilities(similarities, head.labels, head.n_way)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "full_context": self.full_context,
            "processing_steps": self.processing_steps,
        }
