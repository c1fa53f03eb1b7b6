"""Conjugate gradient against NumPy, and the weights of the multi-step loss."""

import numpy as np
import tensorflow as tf

from tfmeta.functional import conjugate_gradient, multi_step_weights

DRAWS = np.random.default_rng(1)


def test_as_many_steps_as_unknowns_solve_the_system():
    root = DRAWS.standard_normal((6, 6))
    matrix = root @ root.T + np.eye(6)
    b = DRAWS.standard_normal(6)

    def product(vector):
        joined = tf.concat([tf.reshape(v, [-1]) for v in vector], axis=0)
        image = tf.linalg.matvec(matrix, joined)
        return [tf.reshape(image[:4], [2, 2]), image[4:]]

    b_parts = [tf.constant(b[:4].reshape(2, 2)), tf.constant(b[4:])]
    x = conjugate_gradient(product, b_parts, steps=6)
    joined = np.concatenate([np.ravel(part) for part in x])
    np.testing.assert_allclose(joined, np.linalg.solve(matrix, b), rtol=1e-8)


def test_steps_beyond_the_solution_change_nothing():
    x = conjugate_gradient(lambda v: [2.0 * v[0]], [tf.constant([4.0, 6.0])], steps=5)
    np.testing.assert_array_equal(x[0], [2.0, 3.0])


def test_multi_step_weights_go_from_alike_to_the_last():
    np.testing.assert_allclose(multi_step_weights(4, tf.constant(0.0)), [0.25] * 4)
    end = [0.03 / 4] * 3 + [1 - 3 * 0.03 / 4]
    np.testing.assert_allclose(multi_step_weights(4, tf.constant(1.0)), end, rtol=1e-6)
    np.testing.assert_allclose(multi_step_weights(4, tf.constant(9.0)), end, rtol=1e-6)
    assert multi_step_weights(1, tf.constant(0.5)).numpy() == [1.0]
