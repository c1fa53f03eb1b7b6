"""Batch normalisation: the derivatives of automatic differentiation, the third included."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.functional import batch_norm, exact_moments, fused_batch_norm, has_batch_norm_kernel

EPSILON = 0.01
DRAWS = np.random.default_rng(3)
VALUES = [
    DRAWS.normal(0.5, 1.5, (4, 3, 2, 5)),
    DRAWS.uniform(0.5, 2.0, 5),
    DRAWS.normal(size=5),
]


def by_formula(x, gamma, beta):
    mean, variance = exact_moments(x, [0, 1, 2])
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, EPSILON), mean, variance


def by_kernel(x, gamma, beta):
    return fused_batch_norm(x, gamma, beta, EPSILON)


def by_closed_formulas(x, gamma, beta):
    return batch_norm(x, gamma, beta, EPSILON), None, None


def derivatives(function, dtype, *, graph):
    """First and second derivatives of a curved scalar of the output."""
    directions = [tf.constant(np.sin(np.arange(v.size)).reshape(v.shape), dtype) for v in VALUES]

    def compute(*arguments):
        with tf.GradientTape() as outer:
            outer.watch(arguments)
            with tf.GradientTape() as inner:
                inner.watch(arguments)
                y, _, _ = function(*arguments)
                value = tf.reduce_sum(tf.sin(y) * tf.exp(0.3 * y))
            first = inner.gradient(value, arguments)
            slope = tf.add_n([tf.reduce_sum(g * d) for g, d in zip(first, directions, strict=True)])
        return first, outer.gradient(slope, arguments)

    run = tf.function(compute) if graph else compute
    return run(*(tf.constant(v, dtype) for v in VALUES))


def test_values_are_those_of_the_formula():
    arguments = [tf.constant(v, tf.float32) for v in VALUES]
    for got, wanted in zip(by_kernel(*arguments), by_formula(*arguments), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("graph", [False, True])
def test_first_and_second_derivatives_are_those_of_the_formula_in_float64(graph):
    got = derivatives(by_kernel, tf.float32, graph=graph)
    wanted = derivatives(by_formula, tf.float64, graph=graph)
    for order in (0, 1):
        for a, b in zip(got[order], wanted[order], strict=True):
            scale = np.abs(b).max()
            np.testing.assert_allclose(a, b, atol=2e-5 * scale, rtol=0)


@pytest.mark.parametrize("graph", [False, True])
def test_closed_derivatives_are_those_of_automatic_differentiation(graph):
    got = derivatives(by_closed_formulas, tf.float64, graph=graph)
    wanted = derivatives(by_formula, tf.float64, graph=graph)
    for order in (0, 1):
        for a, b in zip(got[order], wanted[order], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-13 * np.abs(b).max(), rtol=0)


@pytest.mark.parametrize("graph", [False, True])
def test_third_derivative_of_the_closed_formulas(graph):
    def third(function):
        def compute(x):
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as middle:
                    middle.watch(x)
                    with tf.GradientTape() as inner:
                        inner.watch(x)
                        value = tf.reduce_sum(function(x, *VALUES[1:])[0] ** 3)
                    slope = tf.reduce_sum(inner.gradient(value, x) ** 2)
                slope = tf.reduce_sum(middle.gradient(slope, x) ** 2)
            return outer.gradient(slope, x)

        return (tf.function(compute) if graph else compute)(tf.constant(VALUES[0]))

    wanted = third(by_formula)
    np.testing.assert_allclose(
        third(by_closed_formulas), wanted, atol=1e-10 * np.abs(wanted).max(), rtol=0
    )


def test_one_value_a_channel_is_its_own_mean():
    y, mean, variance = fused_batch_norm(
        tf.constant([2.0], shape=[1, 1, 1, 1]), tf.ones([1]), tf.zeros([1]), EPSILON
    )
    assert (float(y[0, 0, 0, 0]), float(mean[0]), float(variance[0])) == (0.0, 2.0, 0.0)


@pytest.mark.parametrize(
    "x, epsilon",
    [
        (tf.zeros([2, 4, 4, 3], tf.float64), EPSILON),
        (tf.zeros([2, 3]), EPSILON),
        (tf.zeros([2, 4, 4, 3]), 1e-6),
    ],
)
def test_what_the_kernel_does_not_take(x, epsilon):
    assert not has_batch_norm_kernel(x, epsilon)
