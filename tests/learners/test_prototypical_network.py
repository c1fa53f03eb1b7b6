"""Prototypical Networks by hand, and with any number of classes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.learners import PrototypicalNetwork

DRAWS = np.random.default_rng(0)


def identity(size=2):
    """A backbone whose features are the examples."""
    network = keras.Sequential([keras.Input((size,)), keras.layers.Dense(size, use_bias=False)])
    network.set_weights([np.eye(size)])
    return network


def test_logits_are_minus_the_distance_to_the_class_means():
    learner = PrototypicalNetwork(identity())
    state = learner.adapt([[0.0, 0.0], [2.0, 0.0], [5.0, 5.0]], [0, 0, 1])
    np.testing.assert_allclose(state.head.prototypes, [[1.0, 0.0], [5.0, 5.0]])
    np.testing.assert_array_equal(state.head.counts, [2, 1])
    logits = learner.predict_query(state, [[1.0, 2.0]])
    np.testing.assert_allclose(logits, [[-4.0, -25.0]], rtol=1e-6)


def test_the_loss_is_the_cross_entropy_of_those_logits():
    learner = PrototypicalNetwork(identity())
    learner.compile("sgd")
    inputs = {
        "support_x": np.array([[[0.0, 0.0], [2.0, 0.0]]], "float32"),
        "support_y": np.array([[0, 1]]),
        "query_x": np.array([[[0.5, 0.0]]], "float32"),
    }
    wanted = np.log(1 + np.exp(-2.25 + 0.25))
    loss = learner.evaluate(inputs, np.array([[0]]), verbose=0)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)


@pytest.mark.parametrize("statistics", ["support", "transductive", "running"])
def test_another_numbering_of_the_classes_permutes_the_logits(statistics):
    norm = keras.layers.BatchNormalization()
    learner = PrototypicalNetwork(
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), norm]), statistics=statistics
    )
    support_x, query_x = DRAWS.random((6, 4), "float32"), DRAWS.random((5, 4), "float32")
    support_y, numbers = np.array([0, 0, 1, 1, 2, 2]), np.array([2, 0, 1])
    inputs = {"support_x": support_x[None], "support_y": support_y[None], "query_x": query_x[None]}
    logits = learner(inputs)
    turned = learner({**inputs, "support_y": numbers[support_y][None]})
    np.testing.assert_allclose(turned.numpy()[..., numbers], logits, rtol=1e-4, atol=1e-5)


def test_one_learner_serves_any_number_of_classes():
    learner = PrototypicalNetwork(identity(4))
    for n_way in (1, 2, 7):
        support_y = np.arange(n_way)
        state = learner.adapt(DRAWS.random((n_way, 4), "float32"), support_y)
        assert learner.predict_query(state, DRAWS.random((3, 4), "float32")).shape == (3, n_way)


def test_tasks_of_fewer_classes_in_one_batch_are_as_they_are_alone():
    learner = PrototypicalNetwork(identity(4))
    learner.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"])
    inputs = {
        "support_x": DRAWS.random((2, 3, 4), "float32"),
        "support_y": np.array([[0, 1, 2], [0, 1, 0]]),
        "query_x": DRAWS.random((2, 4, 4), "float32"),
        "support_mask": np.array([[True, True, True], [True, True, False]]),
    }
    query_y = np.array([[0, 1, 2, 1], [0, 1, 1, 0]])
    outputs = learner.predict(inputs, verbose=0)
    alone = learner({k: x[1:] for k, x in inputs.items()})
    assert alone.shape == (1, 4, 2)
    np.testing.assert_allclose(outputs[1:, :, :2], alone, rtol=1e-5, atol=1e-6)
    # The class that the second task does not have is never predicted.
    assert (tf.nn.softmax(outputs[1])[:, 2] == 0).numpy().all()
    whole = learner.evaluate(inputs, query_y, verbose=0)
    parts = [
        learner.evaluate(
            {k: x[i : i + 1] for k, x in inputs.items()}, query_y[i : i + 1], verbose=0
        )
        for i in range(2)
    ]
    np.testing.assert_allclose(whole, np.mean(parts, axis=0), rtol=1e-5)
    learner.fit(inputs, query_y, verbose=0)
