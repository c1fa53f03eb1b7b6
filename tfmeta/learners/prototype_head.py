"""A linear head that starts as the classifier by the nearest class mean (Proto-MAML)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional import class_means, prototype_classifier
from tfmeta.learners import checks
from tfmeta.learners.passes import Moments, network_pass


class PrototypeHead:
    """The last layer of a network, and where its weights are among the adapted ones.

    Triantafillou et al. 2020, "Meta-Dataset", section 3: Proto-MAML.

    Args:
        network: a built functional or sequential Keras model that ends in a `Dense` layer.
        adapted: the variables that the inner loop adapts, those of the head among them.

    Raises:
        ValueError: for another last layer, or a head that is not adapted.
    """

    def __init__(self, network: keras.Model, adapted: Sequence[keras.Variable]) -> None:
        head = network.layers[-1]
        is_linear = isinstance(head, keras.layers.Dense) and head.use_bias
        if not is_linear or head.activation is not keras.activations.linear:
            raise ValueError(
                '`head_init="prototypes"` needs a network whose last layer is `Dense` with a bias '
                f"and without activation. Received: {type(head).__name__} ({head.name!r})."
            )
        places = {id(v): place for place, v in enumerate(adapted)}
        if id(head.kernel) not in places or id(head.bias) not in places:
            raise ValueError(
                '`head_init="prototypes"` needs a head that the inner loop adapts. Received: '
                f'{[v.path for v in adapted]} without {head.name!r}. Use `adapt="all"` or '
                '`adapt="head"`.'
            )
        self._kernel, self._bias = places[id(head.kernel)], places[id(head.bias)]
        self._backbone = keras.Model(network.inputs, head.input)

    def support(self, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The support set of an episode of any number of classes, each of which has examples."""
        if not y.dtype.is_integer:
            raise ValueError(
                '`head_init="prototypes"` needs classes: `support_y` must be class numbers '
                f"[support]. Received: targets of shape {y.shape}."
            )
        return x, checks.assert_every_class(y)

    def network_pass(
        self, values: Sequence[tuple[keras.Variable, tf.Tensor]], x: tf.Tensor, **options: Any
    ) -> tuple[tf.Tensor, Moments]:
        """As `passes.network_pass`, with a head for any number of classes."""
        # Keras takes no value of another shape than the variable's: the head is applied here.
        head = (self._kernel, self._bias)
        of_backbone = [pair for place, pair in enumerate(values) if place not in head]
        features, moments = network_pass(self._backbone, x, values=of_backbone, **options)
        kernel, bias = (values[place][1] for place in head)
        return tf.matmul(tf.cast(features, kernel.dtype), kernel) + bias, moments

    def start(self, weights: list[tf.Tensor], x: tf.Tensor, y: tf.Tensor) -> list[tf.Tensor]:
        """The weights, with the head's replaced by the classifier of the support's prototypes."""
        features, _ = network_pass(self._backbone, x, source="batch", training=True)
        features = tf.cast(features, weights[self._kernel].dtype)
        kernel, bias = prototype_classifier(class_means(features, y, tf.reduce_max(y) + 1))
        weights = list(weights)
        weights[self._kernel], weights[self._bias] = kernel, bias
        return weights
