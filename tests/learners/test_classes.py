"""Classes added, enlarged and removed on an adapted state: what changes, and what must not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.learners import MAML, PrototypicalNetwork, SimpleShot
from tfmeta.models import mlp

DRAWS = np.random.default_rng(0)


def learner_of(distance="squared_euclidean", statistics="running", dtype="float32", width=65):
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(width, dtype=dtype),
        keras.layers.BatchNormalization(dtype=dtype),
    ]
    backbone = keras.Sequential([keras.Input((4,), dtype=dtype), *layers])
    if distance == "simple_shot":
        return SimpleShot(backbone, transform="L2N", statistics=statistics, dtype=dtype)
    return PrototypicalNetwork(backbone, distance=distance, statistics=statistics, dtype=dtype)


def examples(n, dtype="float32"):
    return tf.constant(DRAWS.standard_normal((n, 4)), dtype)


def assert_same_bits(got, want):
    np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("distance", ["squared_euclidean", "cosine", "mahalanobis", "simple_shot"])
def test_scores_do_not_depend_on_the_other_classes_from_50_ways_to_2(distance, dtype):
    learner = learner_of(distance, dtype=dtype)
    state = learner.adapt(examples(50, dtype), tf.range(50))
    query_x = examples(5, dtype)
    predict = tf.function(learner.predict_query, reduce_retracing=True)
    scores, left = predict(state, query_x).numpy(), list(range(50))
    assert scores.dtype == dtype
    while len(left) > 2:
        place = int(DRAWS.integers(len(left)))
        state = learner.remove_class(state, place)
        del left[place]
        assert_same_bits(predict(state, query_x), scores[:, left])


@pytest.mark.parametrize("statistics", ["running", "support", "transductive"])
def test_an_added_class_comes_last_and_leaves_the_others_scores(statistics):
    learner = learner_of(statistics=statistics)
    state = learner.adapt(examples(6), tf.constant([0, 1, 2, 0, 1, 2]))
    query_x = examples(7)
    before = learner.predict_query(state, query_x)
    new = learner.add_class(state, examples(3))
    after = learner.predict_query(new, query_x)
    assert after.shape == (7, 4)
    assert_same_bits(after[:, :3], before)
    assert_same_bits(learner.predict_query(learner.remove_class(new, 3), query_x), before)


def test_adding_is_adapting_to_all_classes_at_once():
    learner = learner_of()
    x, y = examples(8), tf.constant([0, 0, 1, 1, 2, 2, 2, 2])
    added = learner.add_class(learner.adapt(x[:4], y[:4]), x[4:])
    at_once = learner.adapt(x, y)
    for got, want in zip(tf.nest.flatten(added), tf.nest.flatten(at_once), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_more_examples_are_those_of_the_start():
    learner = learner_of()
    x, y = examples(9), tf.constant([0, 1, 2, 1, 1, 1, 1, 0, 2])
    start = learner.adapt(x[:3], y[:3])
    state = learner.add_examples(start, x[3:5], 1)
    state = learner.add_examples(state, x[5:7], tf.constant(1))
    at_once = learner.adapt(x[:7], y[:7])
    np.testing.assert_allclose(state.head.prototypes, at_once.head.prototypes, atol=1e-6)
    np.testing.assert_array_equal(state.head.counts, [1, 5, 1])
    others = np.array([0, 2])
    before, after = (learner.predict_query(s, x).numpy()[:, others] for s in (start, state))
    assert_same_bits(after, before)


def test_labels_above_a_removed_class_move_down():
    learner = learner_of()
    x = examples(4)
    state = learner.remove_class(learner.adapt(x, tf.range(4)), 1)
    labels = learner.predict_query(state, tf.gather(x, [0, 2, 3])).numpy().argmax(axis=1)
    np.testing.assert_array_equal(labels, [0, 1, 2])


@pytest.mark.parametrize("label", [-1, 3, tf.constant(7)])
def test_a_label_outside_the_state_is_refused(label):
    learner = learner_of()
    state = learner.adapt(examples(3), tf.range(3))
    with pytest.raises(ValueError, match=r"`label` must be a class .* n_way = .*3"):
        learner.remove_class(state, label)
    with pytest.raises(ValueError, match="`label` must be a class"):
        learner.add_examples(state, examples(1), label)


def test_other_bad_changes_are_refused():
    learner = learner_of()
    state = learner.adapt(examples(1), tf.constant([0]))
    with pytest.raises(ValueError, match="must keep a class"):
        learner.remove_class(state, 0)
    with pytest.raises(ValueError, match="must hold an example"):
        learner.add_class(state, examples(0))
    with pytest.raises(ValueError, match=r"must be finite.*\[1\]"):
        learner.add_class(state, tf.constant([[0.0] * 4, [np.nan] * 4]))
    with pytest.raises(ValueError, match="must have the shape"):
        learner.add_class(state, tf.zeros([2, 5]))
    with pytest.raises(ValueError, match="must be one class number"):
        learner.remove_class(state, tf.constant([0]))
    with pytest.raises(ValueError, match="must be one class number"):
        learner.remove_class(state, 0.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: MAML(mlp((4,), outputs=2)),
        lambda: PrototypicalNetwork(mlp((4,), outputs=None), refinement="soft_kmeans", name="it"),
    ],
)
def test_a_learner_whose_classes_are_tied_together_says_so(make):
    learner = make()
    state = learner.adapt(examples(2), tf.range(2))
    for change in (
        lambda: learner.add_class(state, examples(1)),
        lambda: learner.add_examples(state, examples(1), 0),
        lambda: learner.remove_class(state, 0),
    ):
        with pytest.raises(ValueError, match=rf"every class stands for itself.*{learner.name}"):
            change()
