"""Mixtures, their weights and the folds of a support set, by hand."""

import numpy as np
import tensorflow as tf

from tfmeta.functional import (
    accuracy_weights,
    mixture_log_probabilities,
    pseudo_likelihood_weights,
    support_folds,
)


def test_the_mixture_is_the_weighted_mean():
    draws = np.random.default_rng(0)
    probabilities = draws.dirichlet(np.ones(4), (3, 5))
    weights = np.array([0.5, 0.2, 0.3])
    found = mixture_log_probabilities(tf.constant(np.log(probabilities)), tf.constant(weights))
    wanted = np.einsum("m,mnk->nk", weights, probabilities)
    np.testing.assert_allclose(np.exp(found), wanted, rtol=1e-12)


def test_a_weight_of_zero_leaves_a_model_out():
    logs = tf.constant([[[-1.0, -2.0]], [[-5.0, -0.1]]])
    found = mixture_log_probabilities(logs, tf.constant([1.0, 0.0]))
    np.testing.assert_allclose(found, logs[0], rtol=1e-6)


def test_weights_by_hand():
    sums = tf.constant([-1.0, -2.0, -4.0])
    wanted = np.exp(sums) / np.exp(sums).sum()
    np.testing.assert_allclose(pseudo_likelihood_weights(sums), wanted, rtol=1e-6)
    np.testing.assert_allclose(
        accuracy_weights(tf.constant([4.0, 0.0, 2.0])), [5 / 9, 1 / 9, 3 / 9]
    )
    for weights in (pseudo_likelihood_weights, accuracy_weights):
        np.testing.assert_allclose(weights(tf.zeros(4)), 0.25)


def test_every_class_keeps_an_example_in_every_fold():
    labels = np.random.default_rng(0).permutation([0] * 7 + [1] * 2 + [2] + [3] * 3)
    for n_folds in (2, 3, 5, 20):
        folds = support_folds(tf.constant(labels), n_folds).numpy()
        assert folds[labels == 2] == -1
        assert folds.max() == min(n_folds, 7) - 1
        assert (folds[labels != 2] >= 0).all()
        for fold in range(n_folds):
            assert set(labels[folds != fold]) == {0, 1, 2, 3}
    one_each = support_folds(tf.constant([0, 1, 2]), 5)
    np.testing.assert_array_equal(one_each, -1)
