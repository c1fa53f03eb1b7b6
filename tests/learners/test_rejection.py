"""The threshold of a learner: labels of -1, saving and loading."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta.learners import PrototypicalNetwork

SUPPORT = tf.constant([[0.0], [10.0]])
QUERIES = tf.constant([[1.0], [8.0], [5.0]])  # squared distances 1, 4, 25


def prototypes():
    backbone = keras.Sequential([keras.Input((1,)), keras.layers.Rescaling(1.0)])
    return PrototypicalNetwork(backbone)


@pytest.mark.parametrize(
    ("rejection", "labels"),
    [
        (None, [0, 1, 0]),
        (tfmeta.Rejection(threshold=-4.0), [0, 1, -1]),
        (tfmeta.Rejection(threshold=-3.99), [0, -1, -1]),
        (tfmeta.Rejection(threshold=0.75, score="max_probability"), [0, 1, -1]),
    ],
)
def test_classify_by_hand(rejection, labels):
    learner = prototypes()
    learner.rejection = rejection
    said = learner.classify(learner.adapt(SUPPORT, tf.range(2)), QUERIES)
    np.testing.assert_array_equal(said.label, labels)
    np.testing.assert_allclose(tf.reduce_sum(said.probabilities, axis=1), 1.0, rtol=1e-6)
    scores = [1.0, 1.0, 0.5] if rejection and "prob" in rejection.score else [-1.0, -4.0, -25.0]
    np.testing.assert_allclose(said.score, scores, rtol=1e-6)


def test_a_rejection_is_saved_with_the_learner(tmp_path):
    learner = prototypes()
    learner.rejection = tfmeta.Rejection(threshold=np.float32(0.1).item(), known_kept=0.95)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.saving.load_model(tmp_path / "learner.keras")
    assert loaded.rejection == learner.rejection
    loaded.rejection = None
    loaded.save(tmp_path / "without.keras")
    assert keras.saving.load_model(tmp_path / "without.keras").rejection is None


def test_wrong_rejections_are_refused():
    with pytest.raises(ValueError, match="`score` must be one of"):
        tfmeta.Rejection(threshold=0.0, score="entropy")
    with pytest.raises(ValueError, match="`rejection` must be a `Rejection`"):
        prototypes().rejection = 0.5
