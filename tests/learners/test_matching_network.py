"""Matching Networks by hand."""

import keras
import numpy as np
import pytest

from tfmeta.learners import MatchingNetwork

DRAWS = np.random.default_rng(0)


def identity(size=2):
    """A backbone whose features are the examples."""
    network = keras.Sequential([keras.Input((size,)), keras.layers.Dense(size, use_bias=False)])
    network.set_weights([np.eye(size)])
    return network


def test_probabilities_are_the_attention_to_the_examples_of_each_class():
    learner = MatchingNetwork(identity(), temperature=0.5)
    state = learner.adapt([[3.0, 0.0], [0.0, 1.0], [0.0, -2.0]], [0, 1, 1])
    log_probabilities = learner.predict_query(state, [[5.0, 0.0]])
    # Cosines 1, 0 and 0.
    attention = np.exp([2.0, 0.0, 0.0])
    wanted = [attention[0], attention[1] + attention[2]] / attention.sum()
    np.testing.assert_allclose(np.exp(log_probabilities), [wanted], rtol=1e-6)


def test_full_context_changes_the_scores_and_has_weights_of_its_own():
    plain, full = MatchingNetwork(identity(3)), MatchingNetwork(identity(3), full_context=True)
    # Three LSTMs, one of which reads twice as much: 4 * (3 + 3 + 1) * 3 each, and 4 * 3 * 3 more.
    assert full.count_params() - plain.count_params() == 3 * 84 + 36
    support_x, query_x = DRAWS.random((4, 3), "float32"), DRAWS.random((2, 3), "float32")
    scores = [
        learner.predict_query(learner.adapt(support_x, [0, 1, 0, 1]), query_x)
        for learner in (plain, full)
    ]
    assert np.abs(scores[0] - scores[1]).max() > 1e-3


def test_more_processing_steps_have_no_more_weights():
    three, five = (
        MatchingNetwork(identity(), full_context=True, processing_steps=k) for k in (3, 5)
    )
    assert three.count_params() == five.count_params()
    assert five.get_config()["processing_steps"] == 5


@pytest.mark.parametrize("full_context", [False, True])
def test_it_learns_which_feature_matters(full_context):
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    learner = MatchingNetwork(network, full_context=full_context, processing_steps=2)
    learner.compile(keras.optimizers.Adam(0.02), metrics=["accuracy"])
    x = 2.0 * DRAWS.standard_normal((40, 12, 3)).astype("float32")
    # The class is in the sign of the first feature alone.
    x[:, ::2, 0], x[:, 1::2, 0] = 1.0, -1.0
    y = np.tile([0, 1], (40, 6))
    inputs = {"support_x": x[:, :4], "support_y": y[:, :4], "query_x": x[:, 4:]}
    before = learner.evaluate(inputs, y[:, 4:], verbose=0)[1]
    learner.fit(inputs, y[:, 4:], batch_size=8, epochs=12, verbose=0)
    assert before < 0.8 < 0.9 < learner.evaluate(inputs, y[:, 4:], verbose=0)[1]
