"""The SavedModel's unknown class, and classes that come and go where it is served."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta.learners import MAML, PrototypicalNetwork
from tfmeta.models import mlp

DRAWS = np.random.default_rng(0)
NAMES = ["cat", "dog", "owl"]


def examples(n):
    return tf.constant(DRAWS.standard_normal((n, 4)), tf.float32)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A learner with a threshold, the SavedModel's folder and signatures, and a state."""
    keras.utils.set_random_seed(0)
    learner = PrototypicalNetwork(mlp((4,), outputs=None, hidden=(6, 33)))
    learner.rejection = tfmeta.Rejection(threshold=-0.5)
    path = tfmeta.export_learner(learner, tmp_path_factory.mktemp("export") / "served")
    signatures = tf.saved_model.load(path).signatures
    support_x = examples(3)
    given = {"support_x": support_x, "support_y": tf.range(3), "class_names": tf.constant(NAMES)}
    return learner, path, signatures, signatures["adapt"](**given), support_x


def test_unknown_queries_are_named_so(served):
    learner, path, signatures, state, support_x = served
    queries = tf.concat([support_x, 50.0 + examples(2)], axis=0)
    outputs = signatures["predict"](query_x=queries, **state)
    said = learner.classify(learner.adapt(support_x, tf.range(3)), queries)
    np.testing.assert_array_equal(outputs["label"], [0, 1, 2, -1, -1])
    np.testing.assert_array_equal(outputs["label"], said.label)
    np.testing.assert_allclose(outputs["score"], said.score, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(outputs["is_unknown"], [False] * 3 + [True] * 2)
    wanted = [name.encode() for name in [*NAMES, "unknown", "unknown"]]
    assert outputs["class_name"].numpy().tolist() == wanted
    assert outputs["probabilities"].shape == (5, 3)
    with open(f"{path}/assets/tfmeta.json", encoding="utf8") as file:
        assert json.load(file)["rejection"]["threshold"] == -0.5


def test_a_class_is_added_where_it_is_served(served):
    learner, _, signatures, state, support_x = served
    new_x, queries = examples(2), examples(5)
    before = signatures["predict"](query_x=queries, **state)["logits"]
    more = signatures["add_class"](support_x=new_x, class_name=tf.constant("ape"), **state)
    assert more["class_names"].numpy().tolist() == [b"cat", b"dog", b"owl", b"ape"]
    after = signatures["predict"](query_x=queries, **more)["logits"]
    np.testing.assert_array_equal(after[:, :3], before)
    wanted = learner.add_class(learner.adapt(support_x, tf.range(3)), new_x)
    np.testing.assert_allclose(after, learner.predict_query(wanted, queries), rtol=1e-5, atol=1e-5)


def test_a_class_is_removed_where_it_is_served(served):
    _, _, signatures, state, support_x = served
    before = signatures["predict"](query_x=support_x, **state)["logits"].numpy()
    less = signatures["remove_class"](class_name=tf.constant("dog"), **state)
    assert less["class_names"].numpy().tolist() == [b"cat", b"owl"]
    outputs = signatures["predict"](query_x=support_x, **less)
    np.testing.assert_array_equal(outputs["logits"], before[:, [0, 2]])
    assert outputs["class_name"].numpy()[[0, 2]].tolist() == [b"cat", b"owl"]


def test_a_class_gets_more_examples_where_it_is_served(served):
    learner, _, signatures, state, support_x = served
    more_x, queries = examples(3), examples(5)
    more = signatures["add_examples"](support_x=more_x, class_name=tf.constant("dog"), **state)
    got = signatures["predict"](query_x=queries, **more)["logits"]
    wanted = learner.add_examples(learner.adapt(support_x, tf.range(3)), more_x, 1)
    np.testing.assert_allclose(got, learner.predict_query(wanted, queries), rtol=1e-5, atol=1e-5)
    before = signatures["predict"](query_x=queries, **state)["logits"].numpy()
    np.testing.assert_array_equal(got.numpy()[:, [0, 2]], before[:, [0, 2]])


def test_wrong_names_are_refused(served):
    _, _, signatures, state, _ = served
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be a new one"):
        signatures["add_class"](support_x=examples(1), class_name=tf.constant("dog"), **state)
    for name in ("add_examples", "remove_class"):
        given = {"support_x": examples(1)} if name == "add_examples" else {}
        with pytest.raises(tf.errors.InvalidArgumentError, match="one of `class_names`"):
            signatures[name](class_name=tf.constant("ape"), **given, **state)


@pytest.mark.parametrize("kind", ["gradient", "refined"])
def test_only_learners_of_prototypes_have_these_signatures(kind, tmp_path):
    learner = (
        MAML(mlp((4,), outputs=2), inner_steps=1)
        if kind == "gradient"
        else PrototypicalNetwork(mlp((4,), outputs=None), refinement="soft_kmeans")
    )
    path = tfmeta.export_learner(learner, tmp_path / "served")
    with open(f"{path}/assets/tfmeta.json", encoding="utf8") as file:
        described = json.load(file)
    assert described["transductive"] == (kind == "refined")
    assert described.get("refinement") == ("soft_kmeans" if kind == "refined" else None)
    assert described["rejection"] is None
    assert set(tf.saved_model.load(path).signatures) == {
        "adapt",
        "predict",
        "adapt_and_predict",
        "serving_default",
    }
