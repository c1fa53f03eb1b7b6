"""FEAT by hand."""

import keras
import numpy as np

from tfmeta.learners import FEAT

DRAWS = np.random.default_rng(0)


def identity(size=2):
    """A backbone whose features are the examples."""
    network = keras.Sequential([keras.Input((size,)), keras.layers.Dense(size, use_bias=False)])
    network.set_weights([np.eye(size)])
    return network


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def squared_distances(x, y):
    return np.square(x[:, np.newaxis] - y).sum(axis=2)


def test_logits_are_minus_the_distance_to_the_adapted_means():
    learner = FEAT(identity(), temperature=4.0)
    support_x = np.array([[0.0, 1.0], [2.0, 5.0], [3.0, 0.0]], "float32")
    state = learner.adapt(support_x, [0, 0, 1])
    means = np.array([[1.0, 3.0], [3.0, 0.0]], "float32")
    adapted = learner.transformer((means, np.zeros(2, "int32"))).numpy()
    np.testing.assert_allclose(state.head.prototypes, adapted, rtol=1e-5)
    query_x = np.array([[1.0, 1.0]], "float32")
    wanted = -squared_distances(query_x, adapted) / 4.0
    np.testing.assert_allclose(learner.predict_query(state, query_x), wanted, rtol=1e-5)


def first_loss(learner, inputs, query_y):
    learner.compile(keras.optimizers.SGD(0.0))
    return learner.fit(inputs, query_y, verbose=0).history["loss"][0]


def test_the_regulariser_is_that_of_the_paper():
    inputs = {
        "support_x": DRAWS.random((1, 3, 2), "float32"),
        "support_y": np.array([[0, 1, 0]]),
        "query_x": DRAWS.random((1, 2, 2), "float32"),
    }
    query_y = np.array([[1, 0]])
    options = {"temperature": 2.0, "dropout": 0.0}
    learner = FEAT(identity(), balance=0.5, regulariser_temperature=3.0, **options)
    plain = FEAT(identity(), balance=0.0, **options)
    plain.set_weights(learner.get_weights())
    x = np.concatenate([inputs["support_x"][0], inputs["query_x"][0]])
    y = np.array([0, 1, 0, 1, 0])
    adapted = [learner.transformer((x[y == k], np.zeros((y == k).sum(), "int32"))) for k in (0, 1)]
    centres = np.stack([np.mean(a, axis=0) for a in adapted])
    regulariser = -log_softmax(-squared_distances(x, centres) / 3.0)[np.arange(5), y].mean()
    difference = first_loss(learner, inputs, query_y) - first_loss(plain, inputs, query_y)
    np.testing.assert_allclose(difference, 0.5 * regulariser, rtol=1e-4)


def test_a_state_keeps_the_support_only_while_training():
    learner = FEAT(identity())
    support_x = DRAWS.random((2, 2), "float32")
    assert learner.adapt(support_x, [0, 1]).head.support == ()
    features = learner.adapt(support_x, [0, 1], training=True).head.support.features
    np.testing.assert_allclose(features, support_x, rtol=1e-6)


def test_dropout_is_for_training_alone_and_draws_anew():
    keras.utils.set_random_seed(0)
    learner = FEAT(identity(6), dropout=0.5, balance=0.0, temperature=1.0)
    inputs = {
        "support_x": np.tile(DRAWS.random((1, 3, 6), "float32"), (2, 1, 1)),
        "support_y": np.array([[0, 1, 2]] * 2),
        "query_x": np.tile(DRAWS.random((1, 3, 6), "float32"), (2, 1, 1)),
    }
    outputs = learner(inputs)
    np.testing.assert_array_equal(outputs[0], outputs[1])
    query_y = np.array([[0, 1, 2]] * 2)
    learner.compile(keras.optimizers.SGD(0.0))
    losses = learner.fit(inputs, query_y, batch_size=1, epochs=2, verbose=0).history["loss"]
    evaluated = learner.evaluate(inputs, query_y, verbose=0)
    assert len({*losses, evaluated}) == 3
