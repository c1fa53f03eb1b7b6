"""Equations against NumPy and finite differences."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta import functional

DRAWS = np.random.default_rng(0)


def central_difference(function, x, direction, h=1e-5):
    return (function(x + h * direction) - function(x - h * direction)) / (2 * h)


def test_squared_euclidean_is_the_sum_of_squared_differences():
    queries, prototypes = DRAWS.standard_normal((6, 4)), DRAWS.standard_normal((3, 4))
    wanted = np.square(queries[:, np.newaxis] - prototypes[np.newaxis]).sum(-1)
    got = functional.squared_euclidean(tf.constant(queries), tf.constant(prototypes))
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_cosine_distance_is_one_minus_the_cosine():
    queries, prototypes = DRAWS.standard_normal((6, 4)), DRAWS.standard_normal((3, 4))
    norms = np.linalg.norm(queries, axis=1)[:, np.newaxis] * np.linalg.norm(prototypes, axis=1)
    got = functional.cosine_distance(tf.constant(queries), tf.constant(prototypes))
    np.testing.assert_allclose(got, 1 - queries @ prototypes.T / norms, rtol=1e-12)


def test_class_means_in_any_order_and_zero_for_an_absent_class():
    features = np.array([[1.0, 0.0], [5.0, 5.0], [3.0, 2.0]])
    got = functional.class_means(tf.constant(features), tf.constant([0, 2, 0]), 3)
    np.testing.assert_allclose(got, [[2.0, 1.0], [0.0, 0.0], [5.0, 5.0]])


@pytest.mark.parametrize("axes", [[0], [0, 1], [1, 2]])
@pytest.mark.parametrize("keepdims", [False, True])
def test_exact_moments_are_mean_and_variance(axes, keepdims):
    x = DRAWS.standard_normal((5, 3, 2))
    mean, variance = functional.exact_moments(tf.constant(x), axes, keepdims=keepdims)
    np.testing.assert_allclose(mean, x.mean(tuple(axes), keepdims=keepdims), rtol=1e-12)
    np.testing.assert_allclose(variance, x.var(tuple(axes), keepdims=keepdims), rtol=1e-12)


def hessian_vector_error(moments):
    """How far the second derivative of a function of the variance is from finite differences."""
    x, vector = (tf.constant(DRAWS.standard_normal((6, 2))) for _ in range(2))

    def gradient(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            scalar = tf.reduce_sum(tf.sin(3.0 * moments(z)[1]))
        return tape.gradient(scalar, z)

    with tf.GradientTape() as tape:
        tape.watch(x)
        slope = tf.reduce_sum(gradient(x) * vector)
    product = tape.gradient(slope, x)
    wanted = central_difference(gradient, x, vector)
    return float(tf.norm(product - wanted) / tf.norm(wanted))


def test_second_derivative_of_exact_moments_is_exact_and_of_the_stock_ones_is_not():
    assert hessian_vector_error(lambda z: functional.exact_moments(z, [0])) < 1e-8
    assert hessian_vector_error(lambda z: tf.nn.moments(z, [0])) > 1e-3


def test_cross_entropy_is_the_mean_of_minus_the_log_probability():
    logits, labels = DRAWS.standard_normal((7, 3)), DRAWS.integers(0, 3, 7)
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    wanted = -log_probabilities[np.arange(7), labels].mean()
    got = functional.cross_entropy(tf.constant(labels), tf.constant(logits))
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_cross_entropy_stays_finite_for_huge_logits():
    loss = functional.cross_entropy(tf.constant([1]), tf.constant([[1e4, -1e4]]))
    np.testing.assert_allclose(loss, 2e4)


def test_mean_squared_error_is_the_mean_over_queries_and_outputs():
    targets, values = DRAWS.standard_normal((4, 2)), DRAWS.standard_normal((4, 2))
    got = functional.mean_squared_error(tf.constant(targets), tf.constant(values))
    np.testing.assert_allclose(got, np.square(targets - values).mean(), rtol=1e-12)


def test_accuracy_counts_the_largest_logit():
    logits = tf.constant([[0.0, 2.0], [0.0, 2.0], [3.0, 1.0], [1.0, 0.0]])
    assert float(functional.accuracy(tf.constant([1, 0, 0, 0]), logits)) == 0.75
    assert float(functional.accuracy(tf.constant([1, 0, 0, 0], tf.int64), logits)) == 0.75


def test_class_numbers_have_one_axis_less_than_logits():
    logits = tf.zeros([4, 3])
    assert functional.is_classification(tf.zeros([4], tf.int32), logits)
    assert not functional.is_classification(tf.zeros([4, 3]), logits)


def test_episode_loss_follows_the_kind_of_target():
    logits = tf.constant([[1.0, 2.0], [0.0, 1.0]])
    labels, targets = tf.constant([1, 0]), tf.constant([[1.0, 1.0], [0.0, 0.0]])
    assert float(functional.episode_loss(labels, logits)) == float(
        functional.cross_entropy(labels, logits)
    )
    assert float(functional.episode_loss(targets, logits)) == 0.5
