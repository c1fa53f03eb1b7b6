"""Learners that predict together, weighted by what each of them makes of the support set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.functional.ensembles import (
    accuracy_weights,
    mixture_log_probabilities,
    pseudo_likelihood_weights,
    support_folds,
)
from tfmeta.learners import checks
from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.episode import pad_ways

WEIGHTINGS = ("uniform", "likelihood", "accuracy")


class EnsembleState(NamedTuple):
    """The states of the learners, and their weights `[learners]`."""

    states: tuple[Any, ...]
    weights: tf.Tensor


@keras.saving.register_keras_serializable("tfmeta")
class EnsembleLearner(EpisodicLearner):
    """Trained learners as one classifier, which predicts the weighted mean of their probabilities.

    `log sum_m w_m p_m(y | x, support)`. Every learner adapts to the support by itself. The weights
    are equal, or set anew by each support set: a part of it is held out, each learner adapts to the
    rest, and is weighed by the likelihood of the held-out labels
    (`tfmeta.functional.pseudo_likelihood_weights`) or by the number that it gets right
    (`accuracy_weights`), over all `folds` of the support. Examples that are alone in their class
    are never held out, so that with one shot the weights are equal; an adaptation takes
    `1 + min(folds, shots)` of each learner's.

    It is built of trained learners and does not train: `fit` says so. Called, evaluated, saved and
    exported it is a learner as any other.

    Args:
        learners: learners for the same examples; those with a fixed number of classes must agree.
        weighting: `"likelihood"`, `"accuracy"` or `"uniform"`.
        folds: into how many parts the support is divided at most, 2 or more; with as many as shots
            one example of each class is left out at a time.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for no learners, learners that do not fit together, or an unknown option.

    Example:
        >>> def learner(scale):
        ...     backbone = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(scale)])
        ...     return tfmeta.learners.PrototypicalNetwork(backbone)
        >>> ensemble = EnsembleLearner([learner(0.01), learner(1.0)])
        >>> x = tf.constant([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]])
        >>> state = ensemble.adapt(x, tf.constant([0, 0, 1, 1]))
        >>> bool(state.weights[1] > state.weights[0])  # the first one is sure of nothing
        True
        >>> tf.argmax(ensemble.predict_query(state, x), axis=1).numpy()
        array([0, 0, 1, 1])
    """

    nested_arguments: tuple[str, ...] = ()

    def __init__(
        self,
        learners: Sequence[EpisodicLearner],
        *,
        weighting: str = "likelihood",
        folds: int = 5,
        **kwargs: Any,
    ) -> None:
        learners = list(learners)
        _check(learners, weighting, folds)
        first = learners[0]
        self._n_outputs = next((m.n_outputs for m in learners if m.n_outputs is not None), None)
        # What the base class asks of a network, the shape and dtype of examples, is that of each.
        network = getattr(first, first.network_argument)
        is_transductive = any(_is_transductive(learner) for learner in learners)
        statistics = "transductive" if is_transductive else first.statistics
        super().__init__(network, statistics=statistics, **kwargs)
        self.learners = learners
        self.weighting = weighting
        self.folds = folds

    @property
    def n_outputs(self) -> int | None:
        return self._n_outputs

    @property
    def transductive(self) -> bool:
        """Whether a query's prediction may depend on other queries, in any of the learners."""
        return self.statistics == "transductive"

    def adapt(self, support_x, support_y, support_mask=None, *, training=False) -> EnsembleState:
        x, y = tf.convert_to_tensor(support_x), tf.convert_to_tensor(support_y)
        self.check_examples("support_x", x)
        if y.shape.rank != 1 or not y.dtype.is_integer:
            raise ValueError(
                "`EnsembleLearner` classifies: `support_y` must be class numbers [support]. "
                f"Received: {y.dtype.name} of shape {y.shape}."
            )
        y = tf.cast(y, "int32")
        if support_mask is not None:
            x, y = tf.boolean_mask(x, support_mask), tf.boolean_mask(y, support_mask)
        states = tuple(learner.adapt(x, y) for learner in self.learners)
        return EnsembleState(states, self.support_weights(x, y))

    def predict_query(self, state, query_x):
        self.check_examples("query_x", query_x)
        pairs = zip(self.learners, state.states, strict=True)
        each = [self._log_probabilities(learner, own, query_x) for learner, own in pairs]
        return mixture_log_probabilities(tf.stack(each), state.weights)

    def support_weights(self, support_x: tf.Tensor, support_y: tf.Tensor) -> tf.Tensor:
        """The weights of the learners for a support set.

        Args:
            support_x: `[support, ...]`.
            support_y: class numbers `[support]` int32.

        Returns:
            `[learners]` with sum 1.
        """
        n_learners = len(self.learners)
        if self.weighting == "uniform":
            return tf.fill([n_learners], tf.constant(1.0 / n_learners, self.variable_dtype))
        fold = support_folds(support_y, self.folds)

        def scores(number: tf.Tensor) -> tf.Tensor:
            held, kept = fold == number, fold != number
            rest = tf.boolean_mask(support_x, kept), tf.boolean_mask(support_y, kept)
            x, y = tf.boolean_mask(support_x, held), tf.boolean_mask(support_y, held)
            each = [self._held_out_score(m, m.adapt(*rest), x, y) for m in self.learners]
            return tf.stack(each)

        spec = tf.TensorSpec([n_learners], self.variable_dtype)
        of_folds = tf.map_fn(scores, tf.range(tf.reduce_max(fold) + 1), fn_output_signature=spec)
        total = tf.reduce_sum(of_folds, axis=0)
        by_rule = {"likelihood": pseudo_likelihood_weights, "accuracy": accuracy_weights}
        return by_rule[self.weighting](total)

    def _held_out_score(
        self, learner: EpisodicLearner, state: Any, x: tf.Tensor, y: tf.Tensor
    ) -> tf.Tensor:
        """The log-likelihood of held-out labels, or how many are right."""
        found = self._log_probabilities(learner, state, x)
        if self.weighting == "likelihood":
            return tf.reduce_sum(tf.gather(found, y, batch_dims=1))
        right = tf.equal(tf.argmax(found, axis=1, output_type=tf.int32), y)
        return tf.reduce_sum(tf.cast(right, self.variable_dtype))

    def _log_probabilities(
        self, learner: EpisodicLearner, state: Any, query_x: tf.Tensor
    ) -> tf.Tensor:
        logits = tf.cast(learner.predict_query(state, query_x), self.variable_dtype)
        if self.n_outputs is not None and learner.n_outputs is None:
            logits = pad_ways(logits, self.n_outputs)
        return tf.nn.log_softmax(logits)

    def fit(self, *args: Any, **kwargs: Any):
        """Raises: the learners of an ensemble are trained one by one."""
        raise ValueError(
            "`EnsembleLearner` is built of trained learners and does not train. Received: a call "
            f"of `fit` on {self.name!r}. Call `fit` on each of its learners, before or after."
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["statistics"]
        return {
            **config,
            "learners": [keras.saving.serialize_keras_object(m) for m in self.learners],
            "weighting": self.weighting,
            "folds": self.folds,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> EnsembleLearner:
        learners = [
            keras.saving.deserialize_keras_object(m, custom_objects=custom_objects)
            for m in config["learners"]
        ]
        return super().from_config({**config, "learners": learners}, custom_objects)


def _is_transductive(learner: EpisodicLearner) -> bool:
    return getattr(learner, "transductive", learner.statistics == "transductive")


def _check(learners: list[Any], weighting: str, folds: int) -> None:
    if not learners or not all(isinstance(learner, EpisodicLearner) for learner in learners):
        raise ValueError(
            "`learners` must be at least one tfmeta learner. Received: "
            f"learners={learners!r}. For classifiers use `tfmeta.transfer.Ensemble`."
        )
    checks.check_choice("weighting", weighting, WEIGHTINGS)
    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 2:
        raise ValueError(f"`folds` must be an integer of at least 2. Received: folds={folds!r}.")
    shapes = [learner.example_shape for learner in learners]
    widths = [learner.n_outputs for learner in learners]
    dtypes = [learner.variable_dtype for learner in learners]
    fixed = {width for width in widths if width is not None}
    if len(set(shapes)) > 1 or len(fixed) > 1 or len(set(dtypes)) > 1:
        raise ValueError(
            "The learners of an ensemble must take the same examples and give the same classes. "
            f"Received: example shapes {shapes}, outputs {widths}, dtypes {dtypes}."
        )
