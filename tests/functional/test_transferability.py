"""Scores of features, rank correlations and logistic regression, against SciPy and scikit-learn."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import tensorflow as tf
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression

from tfmeta.functional.logistic_regression import (
    feature_scale,
    linear_probe,
    logistic_regression,
)
from tfmeta.functional.rank_correlation import kendall, rank_correlation_interval, spearman
from tfmeta.functional.transferability import h_score, ledoit_wolf_shrinkage, log_me


def data(n=30, d=4, n_classes=3):
    draws = np.random.default_rng(0)
    y = np.arange(n) % n_classes
    return draws.standard_normal((n, d)) + 0.7 * y[:, None] * (np.arange(d) < 2), y


def negative_log_evidence(log_alpha_beta, features, target):
    """Of the linear model, from its definition: t ~ N(0, F F' / alpha + 1 / beta)."""
    alpha, beta = np.exp(log_alpha_beta)
    covariance = features @ features.T / alpha + np.eye(len(target)) / beta
    return -scipy.stats.multivariate_normal(np.zeros(len(target)), covariance).logpdf(target)


@pytest.mark.parametrize(("n", "d"), [(30, 4), (12, 20)])
def test_log_me_is_the_maximum_of_the_evidence(n, d):
    features, y = data(n, d)
    of_classes = []
    for k in range(3):
        target = (y == k).astype(float)
        found = scipy.optimize.minimize(
            negative_log_evidence,
            np.zeros(2),
            (features, target),
            method="Nelder-Mead",
            options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 2000},
        )
        of_classes.append(-found.fun / n)
    np.testing.assert_allclose(log_me(features, y), np.mean(of_classes), rtol=1e-5)


def test_h_score_by_hand():
    # Variance 5, variance of the class means 4; a constant second feature counts for nothing.
    features = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0], [6.0, 1.0]])
    assert h_score(features, np.array([0, 0, 1, 1])) == pytest.approx(0.8)


def test_h_score_of_shrunk_covariances():
    features, y = data(10, 20, 2)
    covariance, amount = ledoit_wolf(features)
    np.testing.assert_allclose(ledoit_wolf_shrinkage(features), amount, rtol=1e-10)
    np.testing.assert_allclose(ledoit_wolf_shrinkage(data()[0]), ledoit_wolf(data()[0])[1])
    means = np.stack([features[y == k].mean(axis=0) for k in y])
    between = np.cov(means.T, ddof=0)
    wanted = np.trace(np.linalg.inv(covariance) @ between) * (1 - amount)
    np.testing.assert_allclose(h_score(features, y, shrinkage=True), wanted, rtol=1e-8)


@pytest.mark.parametrize("score", [log_me, h_score])
def test_scores_of_bad_input(score):
    features, y = data()
    with pytest.raises(ValueError, match=r"class numbers \[n\]"):
        score(features, y[:-1])
    with pytest.raises(ValueError, match="without holes"):
        score(features, 2 * y)
    with pytest.raises(ValueError, match="two classes"):
        score(features, 0 * y)
    with pytest.raises(ValueError, match=r"Received: 1 examples"):
        score(np.where(np.arange(30)[:, None] == 3, np.nan, features), y)


def test_rank_correlations_with_ties():
    draws = np.random.default_rng(0)
    a, b = draws.integers(0, 5, 12), draws.standard_normal(12)
    np.testing.assert_allclose(spearman(a, b), scipy.stats.spearmanr(a, b).statistic)
    np.testing.assert_allclose(kendall(a, b), scipy.stats.kendalltau(a, b).statistic)
    assert math.isnan(spearman(np.ones(3), np.arange(3)))


def test_the_interval_of_a_rank_correlation():
    low, high = rank_correlation_interval(0.5, 30, kind="kendall")
    half = 1.959964 * math.sqrt(0.437 / 26)
    np.testing.assert_allclose(np.arctanh([low, high]), np.arctanh(0.5) + half * np.array([-1, 1]))
    for value, n in ((0.5, 4), (1.0, 30), (math.nan, 30)):
        assert rank_correlation_interval(value, n, kind="kendall") is None


@pytest.mark.parametrize(("n", "d"), [(30, 4), (12, 20)])
def test_logistic_regression_reaches_the_optimum(n, d):
    x, y = data(n, d)
    kernel, bias = logistic_regression(tf.constant(x), y, n_classes=3, l2=0.05, steps=500)
    wanted = LogisticRegression(C=1 / (0.05 * n), tol=1e-10, max_iter=5000).fit(x, y)
    np.testing.assert_allclose(kernel, wanted.coef_.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bias - np.mean(bias), wanted.intercept_, rtol=1e-4, atol=1e-5)


def test_the_probe_does_not_depend_on_the_scale_of_features():
    x, y = data()
    scaled = x * np.array([1.0, 1e3, 1e-3, 1.0]) + np.array([0.0, 50.0, 0.0, -3.0])
    logits = [
        features @ kernel + bias
        for features in (x, scaled)
        for kernel, bias in [linear_probe(tf.constant(features), y, n_classes=3)]
    ]
    np.testing.assert_allclose(*logits, rtol=1e-6, atol=1e-8)
    assert feature_scale(tf.constant([[3.0], [3.0]]))[1].numpy() == 1.0
