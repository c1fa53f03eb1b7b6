"""Losses of pairs and triplets, by hand."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.distance import cdist

from tfmeta.functional import (
    absolute_differences,
    balanced_mean,
    batch_hard_triplets,
    contrastive_loss,
    euclidean_distance,
    pair_cross_entropy,
    same_class,
    triplet_loss,
)

DRAWS = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distances_are_those_of_scipy(dtype):
    x, y = DRAWS.standard_normal((4, 3)).astype(dtype), DRAWS.standard_normal((5, 3)).astype(dtype)
    got = euclidean_distance(x, y)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, cdist(x, y), rtol=1e-5)
    city_block = tf.reduce_sum(absolute_differences(x, y), axis=2)
    np.testing.assert_allclose(city_block, cdist(x, y, "cityblock"), rtol=1e-5)


def test_the_distance_of_a_point_to_itself_has_a_zero_gradient():
    x = tf.Variable([[1.0, 2.0], [4.0, 6.0]])
    with tf.GradientTape() as tape:
        distances = euclidean_distance(x, x)
    np.testing.assert_allclose(distances, [[0.0, 5.0], [5.0, 0.0]])
    # Each pair counts twice: 2 * (difference / 5) for each point.
    np.testing.assert_allclose(tape.gradient(distances, x), [[-1.2, -1.6], [1.2, 1.6]], rtol=1e-6)


def test_pair_cross_entropy_is_that_of_the_sigmoid():
    scores, is_same = tf.constant([2.0, 2.0, -50.0, 300.0]), tf.constant([True, False, False, True])
    wanted = [np.log1p(np.exp(-2.0)), np.log1p(np.exp(2.0)), 0.0, 0.0]
    np.testing.assert_allclose(pair_cross_entropy(scores, is_same), wanted, rtol=1e-6, atol=1e-20)


def test_contrastive_loss_pulls_one_class_and_pushes_others_to_the_margin():
    distances = tf.constant([3.0, 0.5, 2.0])
    is_same = tf.constant([True, False, False])
    np.testing.assert_allclose(contrastive_loss(distances, is_same, 1.5), [4.5, 0.5, 0.0])


def test_triplet_loss_with_a_margin_and_without():
    positives, negatives = tf.constant([1.0, 1.0, 3.0]), tf.constant([2.0, 1.1, 1.0])
    got = triplet_loss(positives, negatives, 0.5)
    np.testing.assert_allclose(got, [0.0, 0.4, 2.5], rtol=1e-6)
    soft = np.log1p(np.exp([-1.0, -0.1, 2.0]))
    np.testing.assert_allclose(triplet_loss(positives, negatives, None), soft, rtol=1e-6)


def test_the_hardest_triplets_are_the_farthest_positive_and_the_nearest_negative():
    x = np.array([[0.0], [1.0], [5.0], [7.0], [20.0]])
    distances = euclidean_distance(x, x)
    positives, negatives, is_valid = batch_hard_triplets(distances, tf.constant([0, 0, 0, 1, 2]))
    # The last two are alone in their classes.
    np.testing.assert_array_equal(is_valid, [True, True, True, False, False])
    np.testing.assert_allclose(positives, [5.0, 4.0, 5.0, 0.0, 0.0])
    np.testing.assert_allclose(negatives, [7.0, 6.0, 2.0, 0.0, 0.0])


def test_one_class_alone_has_no_triplet_and_a_finite_gradient():
    x = tf.Variable(DRAWS.standard_normal((3, 2)))
    with tf.GradientTape() as tape:
        distances = euclidean_distance(x, x)
        positives, negatives, is_valid = batch_hard_triplets(distances, tf.constant([0, 0, 0]))
        loss = tf.reduce_sum(tf.cast(is_valid, x.dtype) * triplet_loss(positives, negatives))
    assert not is_valid.numpy().any()
    np.testing.assert_array_equal(tape.gradient(loss, x), np.zeros((3, 2)))


def test_the_balanced_mean_weighs_both_kinds_of_pairs_alike():
    losses = tf.constant([1.0, 3.0, 10.0, 99.0])
    is_same = tf.constant([True, True, False, False])
    weights = tf.constant([1.0, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(balanced_mean(losses, is_same, weights), (2.0 + 10.0) / 2)
    np.testing.assert_allclose(balanced_mean(losses, is_same, 2 * weights), 2.0 + 10.0)
    only_same = balanced_mean(losses, tf.constant([True] * 4), weights)
    np.testing.assert_allclose(only_same, 14.0 / 3, rtol=1e-6)
    assert float(balanced_mean(losses, is_same, tf.zeros(4))) == 0.0


def test_same_class_is_equality_of_labels():
    np.testing.assert_array_equal(
        same_class(tf.constant([3, 1, 3])), [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    )
