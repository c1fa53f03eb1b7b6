"""Baseline++ (Chen, Liu, Kira, Wang and Huang 2019)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional import class_means, cosine_distance, episode_loss
from tfmeta.inner_loop import GradientDescent, inner_loop
from tfmeta.learners import checks
from tfmeta.learners.embedding_learner import EmbeddingLearner
from tfmeta.sizes import check_sizes


@keras.saving.register_keras_serializable("tfmeta")
class BaselinePlusPlus(EmbeddingLearner):
    """A cosine classifier that gradient steps fit to the support, on features that stay.

    `p(y = k | x) = softmax_k(scale cos(f(x), w_k))` (Chen et al. 2019, "A Closer Look at Few-shot
    Classification", section 3.2). `w` starts at the class means of the normalised features and
    takes `inner_steps` steps of gradient descent down the cross-entropy of the whole support; the
    paper starts at random and takes 100 steps on small batches. Nothing is drawn, so that the
    same support gives the same head.

    The paper trains the backbone as an ordinary classifier of the base classes. `fit` on episodes
    trains it through the steps, which are differentiated.

    Args:
        backbone: a built Keras model from an example to a feature vector.
        inner_steps: gradient steps.
        inner_rate: their learning rate.
        scale: by which the cosines are multiplied.
        **kwargs: `statistics`, `engine`, `name` and other arguments of `EmbeddingLearner`.

    Raises:
        ValueError: for an unbuilt backbone, outputs that are not vectors, or an option out of
            range.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> learner = BaselinePlusPlus(backbone, inner_steps=2)
        >>> state = learner.adapt(tf.eye(2), tf.constant([0, 1]))
        >>> learner.predict_query(state, tf.ones([5, 2])).shape
        TensorShape([5, 2])
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        inner_steps: int = 20,
        inner_rate: float = 0.1,
        scale: float = 10.0,
        **kwargs: Any,
    ) -> None:
        check_sizes(inner_steps=inner_steps)
        checks.check_positive_number("inner_rate", inner_rate)
        checks.check_positive_number("scale", scale)
        super().__init__(backbone, **kwargs)
        self.inner_steps = inner_steps
        self.inner_rate = inner_rate
        self.scale = scale

    def fit_head(self, features, y, *, training=False) -> tf.Tensor:
        directions = tf.math.l2_normalize(features, axis=1)
        start = class_means(directions, y, tf.reduce_max(y) + 1)
        path = inner_loop(
            lambda weights, step: episode_loss(y, self.query_logits(weights[0], features)),
            [start],
            rule=GradientDescent(self.inner_rate),
            inner_steps=self.inner_steps,
        )
        return path[-1][0]

    def query_logits(self, head, features):
        return self.scale * (1.0 - cosine_distance(features, head))

    def get_config(self) -> dict[str, Any]:
        names = ("inner_steps", "inner_rate", "scale")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
