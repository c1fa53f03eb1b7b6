"""Relation Networks by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.layers import GroupNormalization, RelationModule
from tfmeta.learners import RelationNetwork

DRAWS = np.random.default_rng(0)


@keras.saving.register_keras_serializable("test")
class InnerProduct(keras.Layer):
    """A relation that one can compute in the head."""

    def call(self, inputs):
        classes, queries = inputs
        flat = [tf.reshape(x, [tf.shape(x)[0], -1]) for x in (queries, classes)]
        return tf.matmul(*flat, transpose_b=True)


def identity(*shape):
    return keras.Sequential([keras.Input(shape), keras.layers.Activation("linear")])


@pytest.mark.parametrize(("class_features", "wanted"), [("sum", 6.0), ("mean", 3.0)])
def test_a_class_is_the_sum_or_the_mean_of_its_maps(class_features, wanted):
    learner = RelationNetwork(
        identity(1, 1, 2), relation=InnerProduct(), class_features=class_features
    )
    support_x = np.reshape([[1.0, 7.0], [5.0, 7.0], [4.0, 7.0]], (3, 1, 1, 2))
    state = learner.adapt(support_x.astype("float32"), [0, 0, 1])
    query_x = np.reshape([1.0, 0.0], (1, 1, 1, 2)).astype("float32")
    np.testing.assert_allclose(learner.predict_query(state, query_x), [[wanted, 4.0]])


def episode():
    return {
        "support_x": np.array([[[1.0, 0.0], [0.0, 2.0]]], "float32"),
        "support_y": np.array([[0, 1]]),
        "query_x": np.array([[[1.0, 0.5], [3.0, -1.0]]], "float32"),
    }


def first_loss(relation_loss, **options):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, use_bias=False)])
    network.set_weights([np.eye(2)])
    learner = RelationNetwork(network, relation=InnerProduct(), relation_loss=relation_loss)
    learner.compile(keras.optimizers.SGD(0.0))
    history = learner.fit(episode(), np.array([[0, 1]]), verbose=0, **options).history
    return history["loss"][0]


# Relations of the two queries: 1 and 1 to the classes; 3 and -2.
LOGITS = np.array([[1.0, 1.0], [3.0, -2.0]])
SQUARES = np.square(1.0 / (1.0 + np.exp(-LOGITS)) - np.eye(2))


def test_the_training_loss_is_the_squared_error_of_the_sigmoid():
    np.testing.assert_allclose(first_loss("mean_squared_error"), SQUARES.mean(), rtol=1e-5)


def test_the_training_loss_may_be_the_cross_entropy():
    wanted = np.mean([np.log(2.0), np.log1p(np.exp(5.0))])
    np.testing.assert_allclose(first_loss("cross_entropy"), wanted, rtol=1e-5)


def test_sample_weights_weigh_the_squared_errors():
    weight = np.array([[1.0, 3.0]], "float32")
    wanted = (SQUARES * [[1.0], [3.0]]).mean()
    loss = first_loss("mean_squared_error", sample_weight=weight)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)


def test_the_default_relation_takes_the_shape_of_the_backbones_maps():
    learner = RelationNetwork(identity(5, 5, 3))
    assert isinstance(learner.relation, RelationModule)
    assert learner.relation.class_part.kernel.shape == (3, 3, 3, 64)
    assert set(map(id, learner.relation.weights)) <= set(map(id, learner.weights))


def test_stock_normalisation_in_a_relation_becomes_exact():
    learner = RelationNetwork(identity(2), relation=Normalized())
    assert type(learner.relation.norm) is GroupNormalization


class Normalized(InnerProduct):
    def __init__(self, norm=None):
        super().__init__()
        self.norm = norm or keras.layers.GroupNormalization(1)
        self.norm.build((None, 2))


def test_a_relation_whose_scores_depend_on_other_pairs_is_refused():
    with pytest.raises(ValueError, match="Normalise by group or by layer"):
        RelationNetwork(identity(2), relation=Normalized(keras.layers.BatchNormalization()))


def test_outputs_that_are_neither_maps_nor_vectors_are_refused():
    with pytest.raises(ValueError, match="flatten=False"):
        RelationNetwork(identity(3, 2))


def test_a_relation_is_saved_with_the_learner(tmp_path):
    learner = RelationNetwork(identity(4, 4, 2), relation=RelationModule(filters=4, hidden=3))
    learner.save(tmp_path / "learner.keras")
    loaded = keras.saving.load_model(tmp_path / "learner.keras")
    assert loaded.relation.filters == 4
    support_x = DRAWS.random((2, 4, 4, 2), "float32")
    states = [m.adapt(support_x, [0, 1]) for m in (learner, loaded)]
    scores = [m.predict_query(s, support_x) for m, s in zip((learner, loaded), states, strict=True)]
    np.testing.assert_array_equal(*scores)
