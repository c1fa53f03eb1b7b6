"""R2-D2, ridge regression as a head (Bertinetto, Henriques, Torr and Vedaldi 2019)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional import ridge_regression
from tfmeta.learners import checks
from tfmeta.learners.embedding_learner import EmbeddingLearner
from tfmeta.learners.positive import add_logarithm


@keras.saving.register_keras_serializable("tfmeta")
class R2D2(EmbeddingLearner):
    """Classifies a query by ridge regression of the one-hot labels on the support's features.

    `logits = scale * f(x) W + bias` with `W = argmin |X W - Y|^2 + lambda |W|^2` in closed form
    (Bertinetto et al. 2019, "Meta-learning with differentiable closed-form solvers", section 3).
    Backbone, `lambda`, scale and bias are learned through the solution; `lambda` and the scale as
    their logarithms, so that they stay positive. An episode may have any number of classes and
    shots.

    Args:
        backbone: a built Keras model from an example to a feature vector.
        regularization: `lambda` at the start, positive.
        scale: of the logits at the start, positive; 10 as in the authors' Omniglot runs.
        **kwargs: `statistics`, `name` and other arguments of `EmbeddingLearner`.

    Raises:
        ValueError: for an unbuilt backbone, outputs that are not vectors, or a regularisation or
            scale that is not positive.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> learner = R2D2(backbone)
        >>> state = learner.adapt(tf.constant([[0.0, 1.0], [1.0, 0.0]]), tf.constant([0, 1]))
        >>> learner.predict_query(state, tf.constant([[0.0, 1.0]])).shape
        TensorShape([1, 2])
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        regularization: float = 1.0,
        scale: float = 10.0,
        **kwargs: Any,
    ) -> None:
        # Without it, an episode of fewer examples than features has no single solution.
        checks.check_positive_number("regularization", regularization)
        checks.check_positive_number("scale", scale)
        super().__init__(backbone, **kwargs)
        self.regularization = regularization
        self.scale = scale
        self.log_regularization = add_logarithm(self, "regularization", regularization)
        self.log_scale = add_logarithm(self, "scale", scale)
        self.bias = self.add_weight(shape=(), initializer="zeros", name="bias")

    def fit_head(self, features, y, *, training=False) -> tf.Tensor:
        targets = tf.one_hot(y, tf.reduce_max(y) + 1, dtype=features.dtype)
        return ridge_regression(features, targets, tf.exp(self.log_regularization.value))

    def query_logits(self, head, features):
        scores = tf.matmul(features, head)
        return tf.exp(self.log_scale.value) * scores + self.bias.value

    def get_config(self) -> dict[str, Any]:
        config = {"regularization": self.regularization, "scale": self.scale}
        return {**super().get_config(), **config}
