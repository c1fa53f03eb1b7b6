"""Checks of derivatives against finite differences, in float64."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmeta.inner_loop import episode_draws
from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.episode import Episode

# Relative to the length of the unit direction; rounding wins below, curvature and the kinks of
# ReLU above. The best of them is reported.
_STEPS = (1e-3, 1e-4, 1e-5, 1e-6)
Function = Callable[[Sequence[tf.Tensor]], tf.Tensor]


def gradcheck(
    learner: EpisodicLearner, inputs: Mapping[str, Any], query_y: Any, *, seed: int = 0
) -> float:
    """Relative error of the meta-gradient of a learner, against central differences in float64.

    A copy of the learner in float64 computes the gradient `g` of the mean query loss as its
    training step does. Along unit directions `d` (the gradient's own and two random ones) the
    error is `|g.d - (L(w + h d) - L(w - h d)) / 2h| / |g|`, with the fourth-order stencil and the
    best of several `h`; the largest over the directions is returned. A correct second-order
    meta-gradient of a small network gives 1e-8 or less; `order=1` gives how far the first-order
    approximation is off.

    Args:
        learner: a learner whose network has a `get_config` (functional, sequential, registered).
        inputs: a batch of episodes, see `EpisodicLearner`.
        query_y: `[tasks, query]` or `[tasks, query, d]`.
        seed: of the random directions.

    Returns:
        The relative error.

    Raises:
        ValueError: when the gradient is zero or not finite.

    Example:
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> learner = tfmeta.learners.MAML(network, inner_steps=1)
        >>> inputs = {"support_x": np.ones((1, 1, 1)), "support_y": np.ones((1, 1, 1)),
        ...           "query_x": np.ones((1, 1, 1))}
        >>> gradcheck(learner, inputs, np.full((1, 1, 1), 2.0)) < 1e-6
        True
    """
    copy = in_float64(learner)
    variables = copy.trainable_variables
    inputs, query_y = _in_float64(inputs), _in_float64(query_y)

    @tf.function
    def loss_and_gradients() -> tuple[tf.Tensor, list[tf.Tensor]]:
        return _outer_step(copy, inputs, query_y)

    initial = [v.numpy() for v in variables]
    gradients = [g.numpy() for g in loss_and_gradients()[1]]

    @tf.function
    def loss_only() -> tf.Tensor:
        # Tracing the loss alone lets the graph drop what only the outer gradient needs.
        return loss_and_gradients()[0]

    def loss(weights: Sequence[np.ndarray]) -> float:
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)
        return float(loss_only())

    return max(
        _directional_error(loss, initial, gradients, direction)
        for direction in _directions(gradients, np.random.default_rng(seed))
    )


def hessian_vector_check(
    network: keras.Model, x: Any, *, training: bool = True, seed: int = 0
) -> dict[str, float]:
    """Relative error of the Hessian-vector product of every layer of a network, in float64.

    For networks so deep that finite differences of the whole meta-gradient never converge. Each
    layer `f` is taken alone at the inputs that `x` gives it: `s = sum(r * softplus(f(z)))` with
    random `r`, and `H v` from nested tapes against central differences of `grad s` along random `v`
    in the layer's input and weights together.

    Args:
        network: a functional Keras model.
        x: a batch of its inputs.
        training: whether the layers are called in training mode.
        seed: of the random vectors.

    Returns:
        Layer name to relative error, for every layer with float inputs.

    Example:
        >>> network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="d")])
        >>> hessian_vector_check(network, np.ones((4, 3)))["d"] < 1e-6
        True
    """
    copy = in_float64(network)
    layers = [layer for layer in copy.layers if not isinstance(layer, keras.layers.InputLayer)]
    taps = keras.Model(copy.inputs, {layer.name: layer.input for layer in layers})
    inputs = taps(_in_float64(x), training=training)
    draws = np.random.default_rng(seed)
    return {
        layer.name: _hessian_vector_error(
            layer, keras.tree.flatten(inputs[layer.name]), training, draws
        )
        for layer in layers
    }


def in_float64(model: keras.Model) -> keras.Model:
    """A copy of a model or learner that computes in float64, with the same weights.

    Args:
        model: a Keras model whose layers can be serialised.

    Returns:
        The copy.

    Example:
        >>> network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> in_float64(network).weights[0].dtype
        'float64'
    """
    # The dtype is in each layer's config; a policy or floatx would not reach layers that exist.
    config = json.dumps(keras.saving.serialize_keras_object(model)).replace(
        '"float32"', '"float64"'
    )
    copy = keras.saving.deserialize_keras_object(json.loads(config))
    copy.set_weights(model.get_weights())
    return copy


def _in_float64(nest: Any) -> Any:
    def cast(x: Any) -> tf.Tensor:
        x = tf.convert_to_tensor(x)
        return tf.cast(x, "float64") if x.dtype.is_floating else x

    return tf.nest.map_structure(cast, nest)


def _outer_step(
    learner: EpisodicLearner, inputs: Mapping[str, Any], query_y: tf.Tensor
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Mean loss and gradient of the tasks, by the learner's engine; mapped ones without a loop."""
    if getattr(learner, "active_engine", "mapped") == "vectorized":
        batch_step = learner.outer_steps({**inputs, "query_y": query_y})
        return tf.reduce_mean(batch_step.loss), list(batch_step.gradients)
    steps = []
    for task in range(int(query_y.shape[0])):
        episode = Episode({key: x[task] for key, x in inputs.items()}, query_y[task], None)
        with episode_draws(tf.constant(task)):
            steps.append(learner.outer_gradients(episode))
    gradients = zip(*[step.gradients for step in steps], strict=True)
    of_tasks = [tf.reduce_mean(tf.stack(tensors), axis=0) for tensors in gradients]
    return tf.reduce_mean(tf.stack([step.loss for step in steps])), of_tasks


def _directions(gradients: Sequence[np.ndarray], draws: np.random.Generator) -> list[list]:
    random = [[draws.standard_normal(g.shape) for g in gradients] for _ in range(2)]
    # The second is weighted by the gradient: in a plain random direction of many weights, few of
    # which matter, an error of one layer would drown.
    weighted = [r * np.abs(g) for r, g in zip(random[1], gradients, strict=True)]
    return [list(gradients), random[0], weighted]


def _directional_error(loss: Callable, initial: list, gradients: list, direction: list) -> float:
    length, gradient_length = _norm(direction), _norm(gradients)
    if not 0.0 < gradient_length < np.inf:
        raise ValueError(
            "The meta-gradient must be finite and not zero to be checked. "
            f"Received: a gradient of length {gradient_length}."
        )
    unit = [d / length for d in direction]
    slope = sum(float(np.sum(g * d)) for g, d in zip(gradients, unit, strict=True))

    def along(h: float) -> float:
        return loss([w + h * d for w, d in zip(initial, unit, strict=True)])

    def difference(h: float) -> float:
        return (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)

    return min(abs(slope - difference(h)) for h in _STEPS) / gradient_length


def _hessian_vector_error(
    layer: keras.Layer, inputs: list[tf.Tensor], training: bool, draws: np.random.Generator
) -> float:
    values = [*inputs, *(tf.convert_to_tensor(v.value) for v in layer.trainable_variables)]
    n_inputs = len(inputs)
    weights: np.ndarray | None = None

    def gradient(point: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        nonlocal weights
        with tf.GradientTape() as tape:
            tape.watch(point)
            outputs = _call_layer(layer, point[:n_inputs], point[n_inputs:], training)
            if weights is None:
                weights = draws.standard_normal(outputs.shape)
            scalar = tf.reduce_sum(weights * tf.math.softplus(outputs))
        return tape.gradient(scalar, point, unconnected_gradients="zero")

    vector = [tf.constant(draws.standard_normal(v.shape)) for v in values]
    with tf.GradientTape() as tape:
        tape.watch(values)
        slope = tf.add_n(
            [tf.reduce_sum(g * v) for g, v in zip(gradient(values), vector, strict=True)]
        )
    product = tape.gradient(slope, values, unconnected_gradients="zero")
    length = _norm(vector)

    def along(h: float) -> list[tf.Tensor]:
        return gradient([p + h / length * v for p, v in zip(values, vector, strict=True)])

    def error(h: float) -> float:
        pairs = zip(product, along(h), along(-h), strict=True)
        return _norm([p - (a - b) * length / (2 * h) for p, a, b in pairs])

    # A linear layer under softplus has curvature of order one: never divide by nothing.
    return min(error(h) for h in _STEPS) / max(_norm(product), 1e-12)


def _call_layer(
    layer: keras.Layer, inputs: Sequence[tf.Tensor], weights: Sequence[tf.Tensor], training: bool
) -> tf.Tensor:
    non_trainable = [v.value for v in layer.non_trainable_variables]
    single = inputs[0] if len(inputs) == 1 else inputs
    arguments = {"training": training} if layer._call_has_training_arg else {}
    return layer.stateless_call(list(weights), non_trainable, single, **arguments)[0]


def _norm(tensors: Sequence[Any]) -> float:
    return float(np.sqrt(sum(np.sum(np.square(np.asarray(t))) for t in tensors)))
