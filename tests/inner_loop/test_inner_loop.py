"""The inner loop against closed forms."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta import inner_loop

RATE = 0.1
CURVATURE = np.array([1.0, 3.0])
CENTRE = np.array([2.0, -1.0])
TARGET = np.array([0.5, 0.5])


def support_loss(weights, step):
    return 0.5 * tf.reduce_sum(CURVATURE * tf.square(weights[0] - CENTRE))


def meta_gradient(start, *, inner_steps, order):
    start = tf.constant(start)
    with tf.GradientTape() as tape:
        tape.watch(start)
        path = inner_loop.inner_loop(
            support_loss,
            [start],
            rule=inner_loop.GradientDescent(RATE),
            inner_steps=inner_steps,
            order=order,
        )
        loss = 0.5 * tf.reduce_sum(tf.square(path[-1][0] - TARGET))
    return tape.gradient(loss, start).numpy(), path


@pytest.mark.parametrize("inner_steps", [1, 2, 5])
@pytest.mark.parametrize("order", [1, 2])
def test_meta_gradient_of_a_quadratic_has_its_closed_form(inner_steps, order):
    # A step contracts w - centre by (1 - rate * curvature); so does its derivative, which the
    # first-order approximation takes for one.
    start = np.array([1.0, 1.0])
    contraction = (1 - RATE * CURVATURE) ** inner_steps
    adapted = CENTRE + contraction * (start - CENTRE)
    gradient, path = meta_gradient(start, inner_steps=inner_steps, order=order)
    np.testing.assert_allclose(path[-1][0], adapted, rtol=1e-12)
    wanted = (adapted - TARGET) * (contraction if order == 2 else 1.0)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-12)


def test_the_path_holds_the_weights_before_and_after_every_step():
    _, path = meta_gradient(np.array([1.0, 1.0]), inner_steps=3, order=2)
    first = [float(weights[0][0]) for weights in path]
    np.testing.assert_allclose(first, [2.0 - 0.9**k for k in range(4)])


def test_a_weight_that_the_loss_does_not_use_stays():
    weights, _ = inner_loop.inner_step(
        lambda w, step: w[0] ** 2,
        [tf.constant(1.0), tf.constant(7.0)],
        rule=inner_loop.GradientDescent(0.25),
        rule_state=(),
        step=0,
        order=2,
    )
    assert [float(w) for w in weights] == [0.5, 7.0]


def test_an_inner_step_through_an_embedding_takes_its_dense_gradient():
    table = tf.constant([[1.0], [2.0]])
    weights, _ = inner_loop.inner_step(
        lambda w, step: tf.reduce_sum(tf.gather(w[0], [1])),
        [table],
        rule=inner_loop.GradientDescent(0.5),
        rule_state=(),
        step=0,
        order=2,
    )
    np.testing.assert_allclose(weights[0], [[1.0], [1.5]])


class Momentum(inner_loop.UpdateRule):
    """A rule with a state: `v <- v + g`, `w <- w - v`."""

    def initial_state(self, weights):
        return [tf.zeros_like(w) for w in weights]

    def update(self, step, weights, gradients, state):
        state = [v + g for v, g in zip(state, gradients, strict=True)]
        return [w - v for w, v in zip(weights, state, strict=True)], state


def test_the_state_of_a_rule_goes_from_step_to_step():
    path = inner_loop.inner_loop(
        lambda w, step: 0.5 * w[0], [tf.constant(0.0)], rule=Momentum(), inner_steps=3
    )
    assert [float(w[0]) for w in path] == [0.0, -0.5, -1.5, -3.0]


def test_a_number_is_a_rate_and_a_rule_is_itself():
    rule = inner_loop.GradientDescent(0.3)
    assert inner_loop.get_update_rule(rule) is rule
    assert inner_loop.get_update_rule(1).learning_rate == 1.0
    assert inner_loop.GradientDescent.from_config(rule.get_config()).learning_rate == 0.3


@pytest.mark.parametrize("rate", [0.0, -0.1, math.nan, math.inf])
def test_a_rate_must_be_positive_and_finite(rate):
    with pytest.raises(ValueError, match=r"positive and finite\. Received: learning_rate="):
        inner_loop.get_update_rule(rate)


@pytest.mark.parametrize("rule", ["sgd", None, True, keras.optimizers.SGD(0.1)])
def test_what_is_not_a_rule_is_refused(rule):
    with pytest.raises(ValueError, match=r"`update_rule` must be .* Received: update_rule="):
        inner_loop.get_update_rule(rule)
