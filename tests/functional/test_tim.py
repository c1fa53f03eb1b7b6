"""TIM against NumPy, and soft k-means steps."""

import numpy as np
import tensorflow as tf
from scipy.special import log_softmax

from tfmeta.functional import soft_kmeans_step, tim_logits, tim_loss, tim_weights

DRAWS = np.random.default_rng(0)
W, SUPPORT, QUERY = (DRAWS.standard_normal((n, 4)) for n in (3, 6, 5))
LABELS = np.array([0, 0, 1, 1, 2, 2])


def reference_logits(features, weights):
    z = features / np.linalg.norm(features, axis=1, keepdims=True)
    return -7.5 * np.square(z[:, None] - weights[None]).sum(axis=-1)


def reference_loss(weights):
    log_p = log_softmax(reference_logits(QUERY, weights), axis=1)
    marginal = np.exp(log_p).mean(axis=0)
    conditional = -(np.exp(log_p) * log_p).sum(axis=1).mean()
    on_support = -log_softmax(reference_logits(SUPPORT, weights), axis=1)[np.arange(6), LABELS]
    return 0.1 * on_support.mean() + (marginal * np.log(marginal)).sum() + 0.1 * conditional


def test_tim_logits_and_loss_against_numpy():
    np.testing.assert_allclose(
        tim_logits(tf.constant(QUERY), tf.constant(W)), reference_logits(QUERY, W), rtol=1e-12
    )
    got = tim_loss(*map(tf.constant, (W, SUPPORT, LABELS, QUERY)))
    np.testing.assert_allclose(got, reference_loss(W), rtol=1e-12)


def test_tim_steps_are_those_of_adam():
    z = SUPPORT / np.linalg.norm(SUPPORT, axis=1, keepdims=True)
    start = z.reshape(3, 2, 4).mean(axis=1)
    got = tim_weights(*map(tf.constant, (SUPPORT, LABELS, QUERY)), steps=1)
    # The first step of Adam is the sign of the gradient.
    moves = (got.numpy() - start) / 1e-4
    slopes = np.zeros_like(start)
    for i in np.ndindex(start.shape):
        h = np.zeros_like(start)
        h[i] = 1e-6
        slopes[i] = (reference_loss(start + h) - reference_loss(start - h)) / 2e-6
    np.testing.assert_allclose(moves, -np.sign(slopes), atol=1e-3)
    further = tim_weights(*map(tf.constant, (SUPPORT, LABELS, QUERY)), steps=200).numpy()
    assert reference_loss(further) < reference_loss(start)


def test_a_class_without_assignments_keeps_its_prototype():
    got = soft_kmeans_step(
        tf.constant([[1.0], [5.0]]), tf.constant([2.0, 1.0]), tf.constant([[4.0]]),
        tf.constant([[1.0, 0.0]]),
    )  # fmt: skip
    np.testing.assert_allclose(got, [[2.0], [5.0]])
