"""MetaOptNet, convex solvers as heads (Lee, Maji, Ravichandran and Soatto 2019)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional import ridge_regression, svm_dual
from tfmeta.learners import checks
from tfmeta.learners.embedding_learner import EmbeddingLearner
from tfmeta.learners.positive import add_logarithm
from tfmeta.sizes import check_sizes

HEADS = ("svm", "ridge")


@keras.saving.register_keras_serializable("tfmeta")
class MetaOptNet(EmbeddingLearner):
    """Classifies a query by a linear classifier that a convex solver fits on the support.

    `logits = scale * f(x) W`, with `W` the multi-class support vector machine of Crammer and
    Singer, or ridge regression of the one-hot labels (Lee et al. 2019, "Meta-Learning with
    Differentiable Convex Optimization", section 3). The backbone is learned through the solution:
    see `tfmeta.functional.svm_dual` for its gradient. The scale is learned as its logarithm. An
    episode may have any number of classes and shots.

    Args:
        backbone: a built Keras model from an example to a feature vector.
        head: `"svm"` or `"ridge"`.
        C: how much a violated margin costs the support vector machine, positive.
        regularization: of ridge regression, positive.
        iterations: of the interior-point method.
        scale: of the logits at the start, positive.
        **kwargs: `statistics`, `name` and other arguments of `EmbeddingLearner`.

    Raises:
        ValueError: for an unbuilt backbone, outputs that are not vectors, an unknown head, or
            numbers that are not positive.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> learner = MetaOptNet(backbone)
        >>> state = learner.adapt(tf.constant([[0.0, 1.0], [1.0, 0.0]]), tf.constant([0, 1]))
        >>> learner.predict_query(state, tf.constant([[0.0, 1.0]])).shape
        TensorShape([1, 2])
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        head: str = "svm",
        C: float = 0.1,
        regularization: float = 50.0,
        iterations: int = 15,
        scale: float = 10.0,
        **kwargs: Any,
    ) -> None:
        checks.check_choice("head", head, HEADS)
        for name, value in (("C", C), ("regularization", regularization), ("scale", scale)):
            checks.check_positive_number(name, value)
        check_sizes(iterations=iterations)
        super().__init__(backbone, **kwargs)
        self.head = head
        self.C = C
        self.regularization = regularization
        self.iterations = iterations
        self.scale = scale
        self.log_scale = add_logarithm(self, "scale", scale)

    def fit_head(self, features, y, *, training=False) -> tf.Tensor:
        n_way = tf.reduce_max(y) + 1
        if self.head == "ridge":
            targets = tf.one_hot(y, n_way, dtype=features.dtype)
            return ridge_regression(features, targets, self.regularization)
        # The solver needs it, see there; a kernel of more examples than features above all.
        x = tf.cast(features, tf.float64)
        kernel = tf.matmul(x, x, transpose_b=True)
        alpha = svm_dual(kernel, y, n_way, C=self.C, iterations=self.iterations)
        return tf.cast(tf.matmul(x, alpha, transpose_a=True), features.dtype)

    def query_logits(self, head, features):
        return tf.exp(self.log_scale.value) * tf.matmul(features, head)

    def get_config(self) -> dict[str, Any]:
        config = {
            "head": self.head,
            "C": self.C,
            "regularization": self.regularization,
            "iterations": self.iterations,
            "scale": self.scale,
        }
        return {**super().get_config(), **config}
