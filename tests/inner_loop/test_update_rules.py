"""Update rules against Keras' optimizers, closed forms and their own derivatives."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.inner_loop import (
    Adam,
    ClippedGradients,
    GradientDescent,
    LayerStepRates,
    MetaCurvature,
    MetaSGD,
    Momentum,
    RMSprop,
    clip_by_norm,
)
from tfmeta.inner_loop.learned_rules import multiply_modes

DRAWS = np.random.default_rng(5)
RULES = {
    "gradient_descent": lambda: GradientDescent(0.1),
    "momentum": lambda: Momentum(0.1, momentum=0.8),
    "rmsprop": lambda: RMSprop(0.1, rho=0.7),
    "adam": lambda: Adam(0.1, beta_1=0.6, beta_2=0.9),
    "meta_sgd": lambda: MetaSGD(0.1),
    "layer_step_rates": lambda: LayerStepRates(0.1),
    "meta_curvature": lambda: MetaCurvature(0.1),
    "clipped": lambda: ClippedGradients(Momentum(0.1), max_norm=0.5),
}


def variables(dtype="float64"):
    network = keras.Sequential(
        [
            keras.Input((4, 4, 2), dtype=dtype),
            keras.layers.Conv2D(3, 3, dtype=dtype, name="convolution"),
            keras.layers.Flatten(),
            keras.layers.Dense(2, dtype=dtype, name="head"),
        ]
    )
    # Away from zero, where the normalised rules are too curved for finite differences.
    draws = np.random.default_rng(0)
    for v in network.trainable_variables:
        v.assign(draws.uniform(0.5, 1.0, v.shape))
    return network.trainable_variables


def gradients_of(weights, step):
    """Gradients that depend on the weights, so that a path is a differentiable function of them."""
    return [tf.sin(w * (step + 1.0)) + 0.3 * w for w in weights]


def path(rule, weights, steps=3):
    state = rule.initial_state(weights)
    for step in range(steps):
        weights, state = rule.update(step, weights, gradients_of(weights, step), state)
    return weights


@pytest.mark.parametrize(
    "rule, optimizer",
    [
        (Momentum(0.1, momentum=0.8), keras.optimizers.SGD(0.1, momentum=0.8)),
        (RMSprop(0.1, rho=0.7, epsilon=1e-14), keras.optimizers.RMSprop(0.1, rho=0.7)),
        (
            Adam(0.1, beta_1=0.6, beta_2=0.9, epsilon=1e-14),
            keras.optimizers.Adam(0.1, beta_1=0.6, beta_2=0.9),
        ),
    ],
)
def test_the_path_is_that_of_the_keras_optimizer(rule, optimizer):
    start = DRAWS.uniform(0.5, 1.0, 5)
    variable = keras.Variable(start, dtype="float64")
    for step in range(3):
        optimizer.apply(gradients_of([variable.value], step), [variable])
    # The optimizers add epsilon to the root, the rules under it.
    np.testing.assert_allclose(path(rule, [tf.constant(start)])[0], variable, rtol=1e-5)


@pytest.mark.parametrize("name", RULES)
def test_the_derivative_of_a_path_agrees_with_finite_differences(name):
    adapted, rule = variables(), RULES[name]()
    rule.create_weights(adapted, inner_steps=2)
    sources = [v.value for v in [*adapted, *rule.trainable_variables]]
    directions = [tf.constant(DRAWS.standard_normal(v.shape)) for v in sources]

    def value():
        ends = path(rule, [tf.convert_to_tensor(v.value) for v in adapted])
        return tf.add_n([tf.reduce_sum(tf.square(w - 0.3)) for w in ends])

    with tf.GradientTape() as tape:
        loss = value()
    slopes = tape.gradient(loss, sources, unconnected_gradients="zero")
    slope = sum(float(tf.reduce_sum(g * d)) for g, d in zip(slopes, directions, strict=True))
    before = [tf.identity(v) for v in sources]
    values = []
    for sign in (1.0, -1.0):
        for v, start, d in zip(sources, before, directions, strict=True):
            v.assign(start + sign * 1e-6 * d)
        values.append(float(value()))
    np.testing.assert_allclose(slope, (values[0] - values[1]) / 2e-6, rtol=1e-6)
    if rule.trainable_variables:
        assert any(np.abs(g).max() > 0 for g in slopes[len(adapted) :])


@pytest.mark.parametrize("name", RULES)
def test_a_gradient_of_zero_has_a_finite_derivative(name):
    adapted, rule = variables("float32"), RULES[name]()
    rule.create_weights(adapted, inner_steps=1)
    gradients = [tf.zeros(v.shape) for v in adapted]
    with tf.GradientTape() as tape:
        tape.watch(gradients)
        weights = [tf.convert_to_tensor(v.value) for v in adapted]
        moved, _ = rule.update(0, weights, gradients, rule.initial_state(weights))
        loss = tf.add_n([tf.reduce_sum(tf.square(w - 1.0)) for w in moved])
    for slope in tape.gradient(loss, gradients):
        assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", ["meta_sgd", "layer_step_rates", "meta_curvature"])
def test_a_learned_rule_starts_as_gradient_descent(name):
    adapted, rule = variables("float32"), RULES[name]()
    rule.create_weights(adapted, inner_steps=2)
    weights = [tf.convert_to_tensor(v.value) for v in adapted]
    for got, wanted in zip(path(rule, weights), path(GradientDescent(0.1), weights), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-7)


def test_rates_are_of_a_layer_and_a_step_and_the_last_one_stays():
    adapted, rule = variables("float32"), LayerStepRates(0.1)
    rule.create_weights(adapted, inner_steps=2)
    convolution, head = rule.trainable_variables
    convolution.assign([1.0, 2.0])
    head.assign([3.0, 4.0])
    zeros, ones = ([make(v.shape) for v in adapted] for make in (tf.zeros, tf.ones))
    for step, rates in enumerate([(1.0, 3.0), (2.0, 4.0), (2.0, 4.0)]):
        moved, _ = rule.update(step, zeros, ones, ())
        assert [-float(tf.reduce_max(m)) for m in moved] == [rates[0]] * 2 + [rates[1]] * 2


def test_mode_products_are_those_of_numpy():
    gradient = DRAWS.standard_normal((2, 3, 4, 5))
    matrices = [DRAWS.standard_normal((n, n)) for n in (6, 4, 5)]
    wanted = np.einsum("ap,bi,co,pio->abc", *matrices, gradient.reshape(6, 4, 5))
    got = multiply_modes(tf.constant(gradient), [tf.constant(m) for m in matrices])
    np.testing.assert_allclose(got, wanted.reshape(2, 3, 4, 5), rtol=1e-10)


def test_clipping_is_by_the_joint_norm():
    gradients = [tf.constant([3.0]), tf.constant([4.0])]
    np.testing.assert_allclose(clip_by_norm(gradients, 1.0), [[0.6], [0.8]], rtol=1e-6)
    np.testing.assert_array_equal(clip_by_norm(gradients, 5.5), [[3.0], [4.0]])


@pytest.mark.parametrize("name", RULES)
def test_config_round_trip(name):
    rule = RULES[name]()
    config = keras.saving.serialize_keras_object(rule)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(rule)
    assert copy.get_config() == rule.get_config()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: GradientDescent(-0.1), "`learning_rate` must be positive"),
        (lambda: MetaSGD(0.0), "`learning_rate` must be positive"),
        (lambda: Momentum(0.1, momentum=1.0), "`momentum` must be at least 0 and below 1"),
        (lambda: RMSprop(0.1, epsilon=0.0), "`epsilon` must be positive"),
        (lambda: ClippedGradients(0.1, max_norm=float("nan")), "`max_norm` must be positive"),
        (lambda: ClippedGradients("fast", max_norm=1.0), "`update_rule` must be"),
    ],
)
def test_bad_numbers(make, message):
    with pytest.raises(ValueError, match=message):
        make()
