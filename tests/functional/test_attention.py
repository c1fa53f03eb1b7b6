"""Attention against sums that are written out."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.functional import attention_log_probabilities, scaled_dot_product_attention

DRAWS = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_probabilities_are_the_logarithm_of_the_summed_attention(dtype):
    similarities = DRAWS.standard_normal((4, 6)).astype(dtype)
    labels = np.array([0, 2, 1, 0, 2, 2])
    attention = np.exp(similarities) / np.exp(similarities).sum(axis=1, keepdims=True)
    wanted = np.log(attention @ np.eye(3)[labels])
    got = attention_log_probabilities(tf.constant(similarities), tf.constant(labels), 3)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_the_least_likely_class_has_a_finite_score_and_a_gradient():
    similarities = tf.Variable([[0.0, -500.0]])
    with tf.GradientTape() as tape:
        scores = attention_log_probabilities(similarities, tf.constant([0, 1]), 2)
        loss = scores[0, 1]
    np.testing.assert_allclose(scores, [[0.0, -500.0]])
    np.testing.assert_allclose(tape.gradient(loss, similarities), [[-1.0, 1.0]])


def test_attention_is_the_weighted_mean_of_the_values():
    queries, keys, values = (DRAWS.standard_normal((2, n, 3)) for n in (4, 5, 5))
    scores = np.exp(queries @ keys.transpose(0, 2, 1) / np.sqrt(3.0))
    wanted = scores / scores.sum(axis=2, keepdims=True) @ values
    np.testing.assert_allclose(scaled_dot_product_attention(queries, keys, values), wanted)


def test_attention_does_not_look_where_the_mask_is_false():
    queries, values = DRAWS.standard_normal((3, 2)), DRAWS.standard_normal((3, 2))
    mask = tf.constant([[True, False, False], [False, True, True], [False, True, True]])
    got = scaled_dot_product_attention(queries, queries, values, mask)
    alone = scaled_dot_product_attention(queries[1:], queries[1:], values[1:])
    np.testing.assert_allclose(got[0], values[0])
    np.testing.assert_allclose(got[1:], alone)
