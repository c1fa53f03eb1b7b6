"""Classifiers that predict together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional.ensembles import mixture_log_probabilities


@keras.saving.register_keras_serializable("tfmeta")
class Ensemble(keras.Model):
    """Trained classifiers as one, which predicts the weighted mean of their probabilities.

    `log sum_m w_m p_m(y | x)`: the outputs are log-probabilities, and so logits too. Compile it
    with `SparseCategoricalCrossentropy(from_logits=True)` to evaluate it. The models stay the
    user's own: they are not copied, and `fit` would train them all by the loss of the mean.

    Args:
        models: classifiers of the same classes, called on the same inputs.
        weights: `"uniform"`, or one number for each model, not negative; their sum becomes 1.
        from_logits: whether the models return logits; False for probabilities.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for no models, weights that do not fit, or models with other numbers of
            classes.

    Example:
        >>> def member(bias):
        ...     head = keras.layers.Dense(2, kernel_initializer="zeros",
        ...         bias_initializer=keras.initializers.Constant(np.log(bias)))
        ...     return keras.Sequential([keras.Input((3,)), head])
        >>> ensemble = Ensemble([member([0.9, 0.1]), member([0.5, 0.5])])
        >>> tf.exp(ensemble(np.zeros((1, 3)))).numpy().round(4)
        array([[0.7, 0.3]], dtype=float32)
    """

    def __init__(
        self,
        models: Sequence[keras.Model],
        *,
        weights: str | Sequence[float] = "uniform",
        from_logits: bool = True,
        **kwargs: Any,
    ) -> None:
        members = list(models)
        _check_members(members)
        shares = _shares(weights, len(members))
        super().__init__(**kwargs)
        self.models = members
        self.member_weights = shares
        self.from_logits = from_logits
        self.built = True

    def call(self, inputs, training=False):
        outputs = [model(inputs, training=training) for model in self.models]
        shapes = [tuple(y.shape[1:]) for y in outputs]
        if len(set(shapes)) > 1:
            raise ValueError(
                "The models of an ensemble must have the same classes. Received: outputs of shapes "
                f"{shapes}. Leave out the models of another number of classes."
            )
        each = tf.nn.log_softmax(outputs) if self.from_logits else tf.math.log(tf.stack(outputs))
        return mixture_log_probabilities(each, tf.constant(self.member_weights, each.dtype))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "models": [keras.saving.serialize_keras_object(model) for model in self.models],
            "weights": list(self.member_weights),
            "from_logits": self.from_logits,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Ensemble:
        models = [
            keras.saving.deserialize_keras_object(model, custom_objects=custom_objects)
            for model in config["models"]
        ]
        return cls(**{**config, "models": models})


def _check_members(models: list[Any]) -> None:
    if not models or not all(isinstance(model, keras.Model) and model.built for model in models):
        raise ValueError(
            "`models` must be at least one built `keras.Model`. Received: "
            f"models={[getattr(m, 'name', m) for m in models]}. Call each of them once on a batch."
        )


def _shares(weights: str | Sequence[float], n_models: int) -> tuple[float, ...]:
    """Weights with sum 1."""
    if isinstance(weights, str) and weights != "uniform":
        raise ValueError(f'`weights` must be "uniform" or numbers. Received: weights={weights!r}.')
    given = [1.0] * n_models if isinstance(weights, str) else [float(w) for w in weights]
    fits = len(given) == n_models and all(0.0 <= w < math.inf for w in given) and sum(given) > 0
    if not fits:
        raise ValueError(
            f"`weights` must be one number for each of {n_models} models, none negative and not "
            f"all zero. Received: weights={given}."
        )
    return tuple(w / sum(given) for w in given)
