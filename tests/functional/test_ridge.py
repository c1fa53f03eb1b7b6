"""Ridge regression against scikit-learn, finite differences, and systems without a solution."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import Ridge

from tfmeta.errors import errors_as_value_errors
from tfmeta.functional import ridge_regression

DRAWS = np.random.default_rng(3)


def problem(n, width, d=3):
    return DRAWS.standard_normal((n, width)), DRAWS.standard_normal((n, d))


@pytest.mark.parametrize(("n", "width"), [(5, 16), (30, 8), (7, 7)])
def test_the_weights_are_those_of_scikit_learn(n, width):
    x, y = problem(n, width)
    wanted = Ridge(alpha=0.3, fit_intercept=False, tol=1e-12).fit(x, y).coef_.T
    np.testing.assert_allclose(ridge_regression(x, y, 0.3), wanted, rtol=1e-6, atol=1e-9)
    small = ridge_regression(x.astype("float32"), y.astype("float32"), 0.3)
    assert small.dtype == tf.float32
    np.testing.assert_allclose(small, wanted, rtol=1e-3, atol=1e-4)


def test_sizes_may_be_unknown_when_the_graph_is_made():
    unknown = tf.TensorSpec([None, None], tf.float64)
    graph = tf.function(lambda x, y: ridge_regression(x, y, 0.3), input_signature=[unknown] * 2)
    for n, width in [(4, 9), (9, 4)]:
        x, y = problem(n, width)
        np.testing.assert_allclose(graph(x, y), ridge_regression(x, y, 0.3), rtol=1e-10)


def test_several_problems_are_solved_at_once():
    x, y = zip(*(problem(4, 6) for _ in range(3)), strict=True)
    together = ridge_regression(tf.stack(x), tf.stack(y), 0.1)
    for k in range(3):
        np.testing.assert_allclose(together[k], ridge_regression(x[k], y[k], 0.1), rtol=1e-10)


@pytest.mark.parametrize(("n", "width"), [(4, 7), (7, 4)])
def test_derivatives_are_finite_differences(n, width):
    (x, y), (d_x, d_y) = problem(n, width), problem(n, width)
    weights = DRAWS.standard_normal((width, 3))

    def loss(step):
        w = ridge_regression(x + step * d_x, y + step * d_y, 0.5 + step)
        return tf.reduce_sum(tf.sin(w) * weights)

    step = tf.constant(0.0, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(step)
        value = loss(step)
    h = 1e-5
    wanted = (loss(h) - loss(-h)) / (2 * h)
    np.testing.assert_allclose(tape.gradient(value, step), wanted, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_identical_examples_have_a_solution_with_regularisation_only(dtype):
    x = tf.ones([6, 10], dtype)
    y = tf.one_hot([0, 1, 2, 0, 1, 2], 3, dtype=dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        w = ridge_regression(x, y, 1.0)
    # All features are alike: X W = Y has the least-squares solution 1 / 3, shrunk by 60 / 61.
    np.testing.assert_allclose(tf.matmul(x, w), np.full((6, 3), 20 / 61), rtol=1e-5)
    assert np.isfinite(tape.gradient(w, x)).all()
    with pytest.raises(ValueError, match=r"not singular.*Raise `regularization`.*= 0\.0"):
        ridge_regression(x, y, 0.0)


def test_a_singular_system_whose_pivots_are_rounding_errors_is_refused():
    x = np.repeat(DRAWS.standard_normal((3, 10)), 2, axis=0)
    y = np.eye(6)
    with pytest.raises(ValueError, match="not singular"):
        ridge_regression(x, y, 0.0)


def test_the_error_in_a_graph_is_a_value_error_too():
    graph = tf.function(lambda x, y: ridge_regression(x, y, 0.0))
    with pytest.raises(ValueError, match="not singular"), errors_as_value_errors():
        graph(tf.ones([4, 9]), tf.eye(4))


def test_what_is_not_finite_goes_through():
    assert np.isnan(ridge_regression(tf.constant([[np.nan, 1.0]]), tf.ones([1, 1]), 1.0)).all()
