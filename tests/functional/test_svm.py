"""The multi-class support vector machine against scikit-learn and finite differences."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.svm import LinearSVC

from tfmeta.functional import svm_dual, svm_dual_objective

DRAWS = np.random.default_rng(5)


def support(n_way, n_shot, width, *, scale=1.0):
    y = np.repeat(np.arange(n_way), n_shot)
    centres = DRAWS.standard_normal((n_way, width))
    x = np.maximum(centres[y] + DRAWS.standard_normal((len(y), width)), 0.0)
    return scale * x, y


def gram(x):
    return tf.matmul(x, x, transpose_b=True)


def primal(w, x, y, C):
    """`1/2 sum_k |w_k|^2 + C sum_i max_k (w_k x_i + [k != y_i]) - w_{y_i} x_i`."""
    scores = x @ w
    margins = scores + 1.0 - np.eye(w.shape[1])[y]
    slack = margins.max(axis=1) - scores[np.arange(len(y)), y]
    return 0.5 * np.sum(w**2) + C * slack.sum()


@pytest.mark.parametrize(("n_way", "n_shot"), [(5, 1), (5, 5), (20, 5)])
@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_the_objective_is_that_of_scikit_learn(n_way, n_shot, scale):
    x, y = support(n_way, n_shot, 64, scale=scale)
    peer = LinearSVC(
        multi_class="crammer_singer", C=0.1, fit_intercept=False, tol=1e-7, max_iter=100_000
    )
    wanted = primal(peer.fit(x, y).coef_.T, x, y, 0.1)
    alpha = svm_dual(gram(x), y, n_way).numpy()
    np.testing.assert_allclose(-svm_dual_objective(gram(x), y, alpha), wanted, rtol=1e-4)
    # No duality gap: nothing is better, whatever a peer finds.
    np.testing.assert_allclose(primal(x.T @ alpha, x, y, 0.1), wanted, rtol=1e-4)
    assert np.all(alpha <= 0.1 * np.eye(n_way)[y] + 1e-12)
    np.testing.assert_allclose(alpha.sum(axis=1), 0.0, atol=1e-12)


@pytest.mark.parametrize("scale", [0.03, 1.0, 30.0])
@pytest.mark.parametrize("C", [0.1, 10.0])
def test_no_duality_gap_is_left_for_features_of_any_length(scale, C):
    x, y = support(5, 5, 32, scale=scale)
    dual = {}
    for dtype in ("float64", "float32"):
        # The hardest margin, C |x|^2 = 3e5, takes more iterations than the default.
        alpha = svm_dual(gram(x.astype(dtype)), y, 5, C=C, iterations=25)
        alpha = alpha.numpy().astype("float64")
        dual[dtype] = -svm_dual_objective(gram(x), y, alpha)
        if dtype == "float64":
            np.testing.assert_allclose(primal(x.T @ alpha, x, y, C), dual[dtype], rtol=1e-7)
    np.testing.assert_allclose(dual["float32"], dual["float64"], rtol=1e-4)


def test_two_examples_have_the_margin_between_them():
    # Hard margin: w_0 - w_1 = 1 along x, and w_1 = -w_0.
    x = tf.constant([[1.0], [-1.0]], tf.float64)
    alpha = svm_dual(gram(x), [0, 1], 2, C=10.0)
    np.testing.assert_allclose(tf.matmul(x, alpha, transpose_a=True), [[0.5, -0.5]], rtol=1e-7)


def loss_of(x, y, n_way, C, weights):
    alpha = svm_dual(gram(x), y, n_way, C=C, iterations=25)
    return tf.reduce_sum(tf.sin(3.0 * tf.matmul(x, alpha, transpose_a=True)) * weights)


# A kernel of full rank and one of more examples than features; few and many at the bound.
@pytest.mark.parametrize(("n_shot", "width"), [(1, 6), (3, 5)])
@pytest.mark.parametrize("C", [0.02, 0.3])
def test_derivatives_are_finite_differences(n_shot, width, C):
    x, y = support(4, n_shot, width)
    direction = DRAWS.standard_normal(x.shape)
    weights = DRAWS.standard_normal((width, 4))

    def loss(step):
        return loss_of(x + step * direction, y, 4, C + 0.1 * step, weights)

    step = tf.constant(0.0, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(step)
        value = loss(step)
    h = 1e-5
    wanted = (loss(h) - loss(-h)) / (2 * h)
    np.testing.assert_allclose(tape.gradient(value, step), wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_identical_examples_have_a_finite_solution(dtype, value):
    x = tf.fill([10, 16], tf.constant(value, dtype))
    with tf.GradientTape() as tape:
        tape.watch(x)
        alpha = svm_dual(gram(x), [0, 1, 2, 3, 4] * 2, 5)
        loss = tf.reduce_sum(tf.square(tf.matmul(x, alpha, transpose_a=True) - 1.0))
    assert np.isfinite(alpha).all()
    assert np.isfinite(tape.gradient(loss, x)).all()
    # Nothing tells the classes apart.
    np.testing.assert_allclose(tf.matmul(x, alpha, transpose_a=True), np.zeros((16, 5)), atol=1e-4)


def test_one_class_leaves_nothing_to_separate():
    x, y = support(1, 4, 6)
    np.testing.assert_allclose(svm_dual(gram(x), y, 1), np.zeros((4, 1)), atol=1e-12)


def test_a_kernel_with_a_negative_eigenvalue_is_refused():
    with pytest.raises(ValueError, match="kernel that is positive semi-definite"):
        svm_dual(tf.constant([[1.0, 0.0], [0.0, -1.0]]), [0, 1], 2, C=10.0)


def test_what_is_not_finite_goes_through():
    assert np.isnan(svm_dual(tf.constant([[1.0, np.nan], [np.nan, 1.0]]), [0, 1], 2)).all()


def test_sizes_may_be_unknown_and_problems_several():
    spec = tf.TensorSpec([None, None, None], tf.float64), tf.TensorSpec([None, None], tf.int32)
    graph = tf.function(
        lambda k, y: svm_dual(k, y, tf.reduce_max(y) + 1, C=0.2), input_signature=spec
    )
    for n_way in (2, 3):
        x, y = zip(*(support(n_way, 2, 5) for _ in range(2)), strict=True)
        together = graph(tf.stack([gram(each) for each in x]), tf.stack(y))
        for k in range(2):
            alone = svm_dual(gram(x[k]), y[k], n_way, C=0.2)
            np.testing.assert_allclose(together[k], alone, rtol=1e-7, atol=1e-10)


def test_a_second_derivative_is_refused():
    x, y = support(2, 1, 3)
    x = tf.constant(x)
    with pytest.raises(LookupError, match="first derivative only"), tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            loss = loss_of(x, y, 2, 0.1, 1.0)
        outer.gradient(inner.gradient(loss, x), x)
