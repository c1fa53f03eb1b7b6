"""The base of learners whose head is one prototype for each class."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.functional import class_means, soft_kmeans_step, tim_logits, tim_weights
from tfmeta.learners import checks
from tfmeta.learners.embedding_learner import EmbeddingLearner
from tfmeta.learners.training_losses import LabelledFeatures
from tfmeta.sizes import check_sizes

REFINEMENTS = (None, "soft_kmeans", "tim")
_DEFAULT_STEPS = {None: 0, "soft_kmeans": 1, "tim": 1000}


class Prototypes(NamedTuple):
    """A head of class means `[n_way, d]`, and how many examples each has `[n_way]`.

    `support` is there where a refinement looks at the support itself (TIM), else `()`.
    """

    prototypes: tf.Tensor
    counts: tf.Tensor
    support: LabelledFeatures | tuple[()] = ()


class PrototypeLearner(EmbeddingLearner):
    """A learner that compares a query with the mean of each class.

    A subclass says how: `prototype_logits`, and what becomes of the features before: `transformed`.

    Args:
        backbone: a built Keras model from an example to a feature vector.
        refinement: how all queries of an episode together improve the prototypes, which makes
            the learner transductive: `"soft_kmeans"` (Ren et al. 2018; in training too, end to
            end) or `"tim"` (TIM-GD, Boudiaf et al. 2020; its own classifier on normalised
            features, for a learner that was trained without). None for neither.
        refinement_steps: steps of the refinement; None for the papers' (1, and 1000 of Adam).
        **kwargs: `statistics`, `engine`, `name` and other arguments of `EmbeddingLearner`.

    Raises:
        ValueError: for an unknown refinement, or steps without one.
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        refinement: str | None = None,
        refinement_steps: int | None = None,
        **kwargs: Any,
    ) -> None:
        checks.check_choice("refinement", refinement, REFINEMENTS)
        _check_steps(refinement, refinement_steps)
        super().__init__(backbone, **kwargs)
        self.refinement = refinement
        self.refinement_steps = refinement_steps
        # Not where the queries tie the classes together.
        self.changes_classes = refinement is None

    # ----- what a method defines ------------------------------------------------------------

    def transformed(self, features: tf.Tensor) -> tf.Tensor:
        """The features `[n, d]` as they are compared; by default as they come."""
        return features

    def prototype_logits(self, features: tf.Tensor, prototypes: tf.Tensor) -> tf.Tensor:
        """Logits `[query, n_way]` of features `[query, d]` under prototypes `[n_way, d]`."""
        raise NotImplementedError

    # ----- what follows from it -------------------------------------------------------------

    def fit_head(self, features, y, *, training=False) -> Prototypes:
        features = self.transformed(features)
        n_way = tf.reduce_max(y) + 1
        counts = tf.reduce_sum(tf.one_hot(y, n_way, dtype=features.dtype), axis=0)
        support = LabelledFeatures(features, y) if self.refinement == "tim" else ()
        return Prototypes(class_means(features, y, n_way), counts, support)

    def query_logits(self, head, features):
        features = self.transformed(features)
        if self.refinement == "tim":
            support, labels = head.support
            weights = tim_weights(support, labels, features, steps=self._steps)
            return tim_logits(features, weights)
        prototypes = head.prototypes
        for _ in range(self._steps):
            assignments = tf.nn.softmax(self.prototype_logits(features, prototypes))
            prototypes = soft_kmeans_step(head.prototypes, head.counts, features, assignments)
        return self.prototype_logits(features, prototypes)

    @property
    def transductive(self) -> bool:
        return self.refinement is not None or super().transductive

    @property
    def _steps(self) -> int:
        return self.refinement_steps or _DEFAULT_STEPS[self.refinement]

    def get_config(self) -> dict[str, Any]:
        names = ("refinement", "refinement_steps")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _check_steps(refinement: str | None, steps: int | None) -> None:
    if steps is None:
        return
    check_sizes(refinement_steps=steps)
    if refinement is None:
        raise ValueError(
            "`refinement_steps` needs a `refinement`. "
            f"Received: refinement=None, refinement_steps={steps}. Leave it out, or choose one of "
            f"{list(REFINEMENTS[1:])}."
        )
