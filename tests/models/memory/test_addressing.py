"""Equations of memories, in the smallest cases that can fail."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.models.memory import addressing, controller, least_recently_used

DRAWS = np.random.default_rng(0)


def assert_gradients(function, *arguments):
    """Analytic gradients of a random combination of the outputs, by central differences."""
    arguments = [tf.constant(x, "float64") for x in arguments]
    weights = [DRAWS.standard_normal(x.shape) for x in tf.nest.flatten(function(*arguments))]

    def value(*arguments):
        outputs = tf.nest.flatten(function(*arguments))
        return tf.add_n([tf.reduce_sum(w * x) for w, x in zip(weights, outputs, strict=True)])

    with tf.GradientTape() as tape:
        tape.watch(arguments)
        total = value(*arguments)
    for k, gradient in enumerate(tape.gradient(total, arguments)):
        direction, h = DRAWS.standard_normal(arguments[k].shape), 1e-5
        moved = [
            value(*arguments[:k], arguments[k] + sign * h * direction, *arguments[k + 1 :])
            for sign in (1, -1)
        ]
        numeric = (moved[0] - moved[1]) / (2 * h)
        np.testing.assert_allclose(np.sum(gradient * direction), numeric, rtol=1e-6, atol=1e-9)


def test_content_weights():
    memory = np.array([[[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]]])
    keys, strengths = np.array([[[0.0, 5.0]]]), np.array([[2.0]])
    # Cosines 4/5 and 1, and 0 for the empty slot.
    wanted = np.exp([1.6, 2.0, 0.0])
    got = addressing.content_weights(*map(tf.constant, (memory, keys, strengths)))
    np.testing.assert_allclose(got, [[wanted / wanted.sum()]], rtol=1e-6)


def test_empty_memory_has_uniform_weights_and_finite_gradients():
    memory = tf.zeros([1, 4, 3], "float64")
    with tf.GradientTape() as tape:
        tape.watch(memory)
        weights = addressing.content_weights(
            memory, tf.ones([1, 2, 3], "float64"), tf.ones([1, 2], "float64")
        )
        total = tf.reduce_sum(weights[..., 0])
    np.testing.assert_allclose(weights, np.full([1, 2, 4], 0.25))
    assert np.isfinite(tape.gradient(total, memory)).all()


def test_reading_and_writing():
    memory = DRAWS.standard_normal((2, 4, 3))
    weights, vectors = DRAWS.random((2, 2, 4)), DRAWS.standard_normal((2, 2, 3))
    erase = DRAWS.random((2, 3))
    np.testing.assert_allclose(
        addressing.read_memory(memory, weights), np.einsum("bhn,bnw->bhw", weights, memory)
    )
    np.testing.assert_allclose(
        addressing.write_memory(memory, weights, vectors),
        memory + np.einsum("bhn,bhw->bnw", weights, vectors),
    )
    np.testing.assert_allclose(
        addressing.erase_memory(memory, weights[:, 0], erase),
        memory * (1 - np.einsum("bn,bw->bnw", weights[:, 0], erase)),
    )


def test_least_used_slots_are_one_for_each_head():
    usage = tf.constant([[0.5, 0.1, 0.9, 0.2]])
    got = least_recently_used.least_used_slots(usage, 2)
    np.testing.assert_array_equal(got, [[[0, 1, 0, 0], [0, 0, 0, 1]]])
    # Slots that were never used are taken in their order.
    got = least_recently_used.least_used_slots(tf.zeros([1, 3]), 2)
    np.testing.assert_array_equal(tf.argmax(got, axis=2), [[0, 1]])


def test_write_weights_and_usage():
    read = np.array([[[0.5, 0.5, 0.0]]])
    least = np.array([[[0.0, 0.0, 1.0]]])
    write = least_recently_used.lrua_write_weights(
        tf.constant([[0.25]], "float64"), tf.constant(read), tf.constant(least)
    )
    np.testing.assert_allclose(write, [[[0.125, 0.125, 0.75]]])
    usage = least_recently_used.decayed_usage(np.array([[1.0, 0.0, 2.0]]), read, write, 0.5)
    np.testing.assert_allclose(usage, [[0.5 + 0.625, 0.625, 1.75]])


def test_lstm_step():
    x, carry = DRAWS.standard_normal((1, 4)), np.array([[0.3]])

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    hidden, after, gates = controller.controller_step(tf.constant(x), tf.constant(carry))
    wanted = sigmoid(x[0, 1]) * 0.3 + sigmoid(x[0, 0]) * np.tanh(x[0, 3])
    np.testing.assert_allclose(after, [[wanted]])
    np.testing.assert_allclose(hidden, [[sigmoid(x[0, 2]) * np.tanh(wanted)]])
    np.testing.assert_allclose(gates, sigmoid(x[:, :3]))


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (addressing.content_weights, [(2, 4, 3), (2, 2, 3), (2, 2)]),
        (addressing.read_memory, [(2, 4, 3), (2, 2, 4)]),
        (addressing.write_memory, [(2, 4, 3), (2, 2, 4), (2, 2, 3)]),
        (addressing.erase_memory, [(2, 4, 3), (2, 4), (2, 3)]),
        (least_recently_used.lrua_write_weights, [(2, 2), (2, 2, 4), (2, 2, 4)]),
        (controller.controller_step, [(2, 8), (2, 2)]),
    ],
)
def test_gradients_agree_with_finite_differences(function, shapes):
    assert_gradients(function, *(DRAWS.standard_normal(shape) for shape in shapes))
