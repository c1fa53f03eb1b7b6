"""Calibration and rank statistics against scikit-learn and counts by hand."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss, roc_auc_score

from tfmeta.functional import calibration

DRAWS = np.random.default_rng(0)


@pytest.mark.parametrize("decimals", [1, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n_known", "n_unknown"), [(1, 1), (7, 300), (150, 40)])
def test_auroc_is_scikit_learns(n_known, n_unknown, dtype, decimals):
    known = np.round(DRAWS.normal(0.5, 1, n_known), decimals).astype(dtype)
    unknown = np.round(DRAWS.normal(0, 1, n_unknown), decimals).astype(dtype)
    wanted = roc_auc_score(
        np.repeat([1, 0], [n_known, n_unknown]), np.concatenate([known, unknown])
    )
    got = calibration.auroc(tf.constant(known), tf.constant(unknown))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-9)


def test_auroc_of_ties_only_is_one_half():
    assert float(calibration.auroc(tf.zeros([3]), tf.zeros([5]))) == 0.5


def test_calibration_error_by_hand():
    # Bins (0, 0.5] and (0.5, 1]: the confidence 0.5 is in the first. Gaps: first bin 2 queries,
    # right 1, confidence 1.0; second bin 2 queries, right 1, confidence 0.75 + 1.
    probabilities = tf.constant([[0.5, 0.5], [0.5, 0.5], [0.75, 0.25], [0.0, 1.0]], tf.float64)
    labels = tf.constant([0, 1, 1, 1])
    got = calibration.expected_calibration_error(labels, probabilities, n_bins=2)
    np.testing.assert_allclose(got, (abs(1 - 1.0) + abs(1 - 1.75)) / 4, rtol=1e-12)


@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_calibration_error_is_the_one_written_with_loops(n_bins):
    logits = DRAWS.normal(0, 2, (200, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = DRAWS.integers(0, 4, 200)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    wanted = 0.0
    for m in range(1, n_bins + 1):
        inside = (confidence > (m - 1) / n_bins) & (confidence <= m / n_bins)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            wanted += inside.sum() / 200 * gap
    got = calibration.expected_calibration_error(
        tf.constant(labels), tf.constant(probabilities), n_bins=n_bins
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-10)


def test_bins_of_two_sets_add_up():
    probabilities = tf.nn.softmax(tf.constant(DRAWS.normal(0, 1, (30, 3))))
    labels = tf.constant(DRAWS.integers(0, 3, 30))
    halves = [
        calibration.calibration_bins(labels[part], probabilities[part])
        for part in (slice(0, 10), slice(10, 30))
    ]
    added = [first + second for first, second in zip(*halves, strict=True)]
    np.testing.assert_allclose(
        calibration.binned_calibration_error(*added),
        calibration.expected_calibration_error(labels, probabilities),
        rtol=1e-12,
    )


def test_likelihood_is_scikit_learns():
    logits = DRAWS.normal(0, 1, (50, 3))
    labels = np.arange(50) % 3
    wanted = log_loss(labels, tf.nn.softmax(logits).numpy())
    got = calibration.negative_log_likelihood(tf.constant(labels), tf.constant(logits))
    np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_scores_of_a_confident_and_an_undecided_query():
    logits = tf.constant([[0.0, 100.0], [7.0, 7.0]], tf.float64)
    np.testing.assert_allclose(calibration.max_logit(logits), [100.0, 7.0])
    np.testing.assert_allclose(calibration.max_probability(logits), [1.0, 0.5])
