"""NT-Xent against loops in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.functional import nt_xent, view_logits


def loss_in_loops(first, second, temperature):
    z = np.concatenate([first, second])
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    n, losses = len(first), []
    for i in range(2 * n):
        partner = i + n if i < n else i - n
        others = [np.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i]
        losses.append(-np.log(np.exp(z[i] @ z[partner] / temperature) / np.sum(others)))
    return np.mean(losses)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_loss_is_that_of_the_formula(temperature, dtype):
    draws = np.random.default_rng(0)
    first, second = draws.standard_normal((2, 5, 3)).astype(dtype)
    wanted = loss_in_loops(first, second, temperature)
    found = nt_xent(first, second, temperature=temperature)
    assert found.dtype.name == dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-5 if dtype == "float32" else 1e-12)


def test_the_gradient_is_that_of_finite_differences():
    draws = np.random.default_rng(1)
    first, second = draws.standard_normal((2, 3, 2))
    x = tf.constant(first)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = nt_xent(x, second)
    found = tape.gradient(loss, x).numpy()
    for place in np.ndindex(first.shape):
        step = np.zeros_like(first)
        step[place] = 1e-6
        wanted = (
            loss_in_loops(first + step, second, 0.5) - loss_in_loops(first - step, second, 0.5)
        ) / 2e-6
        assert found[place] == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_a_view_is_no_candidate_for_itself():
    logits, partners = view_logits(tf.eye(3), tf.eye(3), temperature=0.1)
    np.testing.assert_array_equal(tf.argmax(logits, axis=1), partners)
    np.testing.assert_array_equal(partners, [3, 4, 5, 0, 1, 2])
