"""The exported SavedModel: what goes in and comes out, with TensorFlow alone."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta.learners import MAML, PrototypicalNetwork
from tfmeta.models import conv4, mlp

NAMES = ["cat", "dog", "owl", "ape"]


def pictures(n):
    return tf.constant(np.random.default_rng(n).integers(0, 256, (n, 16, 16, 1)), tf.uint8)


def maml(statistics="support"):
    network = conv4((16, 16, 1), outputs=3, filters=2, downsampling="stride")
    return MAML(network, inner_steps=2, statistics=statistics)


def prototypical(statistics="running"):
    return PrototypicalNetwork(conv4((16, 16, 1), filters=2), statistics=statistics)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A Prototypical Network, its folder and its signatures."""
    learner = prototypical()
    path = tfmeta.export_learner(learner, tmp_path_factory.mktemp("export") / "served")
    return learner, path, tf.saved_model.load(path).signatures


def test_adapt_then_predict_is_adapt_and_predict(served):
    learner, _, signatures = served
    support_x, query_x = pictures(4), pictures(3)
    given = {
        "support_x": support_x,
        "support_y": tf.constant([1, 0, 1, 2]),
        "class_names": tf.constant(NAMES[:3]),
    }
    state = signatures["adapt"](**given)
    in_two = signatures["predict"](query_x=query_x, **state)
    at_once = signatures["adapt_and_predict"](query_x=query_x, **given)
    logits = learner.predict_query(learner.adapt(support_x, given["support_y"]), query_x)
    for outputs in (in_two, at_once):
        np.testing.assert_allclose(outputs["logits"], logits, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(outputs["probabilities"], tf.nn.softmax(logits), atol=1e-5)
        label = np.argmax(logits, axis=1)
        np.testing.assert_array_equal(outputs["label"], label)
        assert outputs["class_name"].numpy().tolist() == [NAMES[k].encode() for k in label]


@pytest.mark.parametrize(("n_way", "n_support", "n_query"), [(2, 2, 1), (4, 9, 6)])
def test_any_sizes_and_the_default_signature(served, n_way, n_support, n_query):
    outputs = served[2]["serving_default"](
        support_x=pictures(n_support),
        support_y=tf.constant(np.arange(n_support) % n_way, tf.int32),
        class_names=tf.constant(NAMES[:n_way]),
        query_x=pictures(n_query),
    )
    assert outputs["logits"].shape == (n_query, n_way)


def test_another_number_of_class_names_is_refused(served):
    with pytest.raises(tf.errors.InvalidArgumentError, match="one name for each class"):
        served[2]["adapt"](
            support_x=pictures(3),
            support_y=tf.constant([0, 1, 2]),
            class_names=tf.constant(NAMES[:2]),
        )


def test_tensorflow_alone_serves_it(served, tmp_path):
    script = """
import sys
sys.modules["tfmeta"] = None  # an import of it fails
import tensorflow as tf
signatures = tf.saved_model.load(sys.argv[1]).signatures
state = signatures["adapt"](
    support_x=tf.zeros([2, 16, 16, 1], tf.uint8), support_y=tf.constant([0, 1]),
    class_names=tf.constant(["a", "b"]))
names = signatures["predict"](query_x=tf.zeros([1, 16, 16, 1], tf.uint8), **state)["class_name"]
print("served", names.numpy()[0].decode())
"""
    run = subprocess.run(
        [sys.executable, "-I", "-c", script, served[1]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert run.stdout.strip() in ("served a", "served b"), run.stderr


@pytest.mark.parametrize("make", [maml, prototypical])
@pytest.mark.parametrize("statistics", ["support", "transductive"])
def test_every_kind_of_statistics_is_exported_and_named(make, statistics, tmp_path, shallow):
    path = tfmeta.export_learner(make(statistics), tmp_path / "served")
    described = json.loads((tmp_path / "served" / "assets" / "tfmeta.json").read_text())
    assert described["statistics"] == statistics
    assert described["transductive"] == (statistics == "transductive")
    signatures = tf.saved_model.load(path).signatures
    given = {
        "support_x": pictures(3),
        "support_y": tf.constant([0, 1, 2]),
        "class_names": tf.constant(NAMES[:3]),
    }
    queries = pictures(4)
    all_of_them = signatures["adapt_and_predict"](query_x=queries, **given)["logits"]
    one = signatures["adapt_and_predict"](query_x=queries[:1], **given)["logits"]
    independent = np.allclose(all_of_them[:1], one, atol=1e-5)
    assert independent == (statistics == "support")


def test_a_label_outside_the_width_is_refused(tmp_path, shallow):
    signatures = tf.saved_model.load(tfmeta.export_learner(maml(), tmp_path / "m")).signatures
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"class numbers 0 \.\.\. n_way - 1"):
        signatures["adapt"](
            support_x=pictures(1),
            support_y=tf.constant([3]),
            class_names=tf.constant(NAMES[:3]),
        )


def test_regression_has_values_and_no_names(tmp_path):
    learner = MAML(mlp(), inner_steps=3)
    path = tfmeta.export_learner(learner, tmp_path / "served")
    x, y = tf.constant([[0.0], [1.0]]), tf.constant([[1.0], [2.0]])
    values = tf.saved_model.load(path).signatures["serving_default"](
        support_x=x, support_y=y, query_x=x
    )
    assert set(values) == {"values"}
    expected = learner.predict_query(learner.adapt(x, y), x)
    np.testing.assert_allclose(values["values"], expected, rtol=1e-5)


def test_the_loss_tells_a_regression_of_several_values(tmp_path):
    learner = MAML(mlp(outputs=2), inner_steps=1)
    learner.compile(loss="mse")
    path = tfmeta.export_learner(learner, tmp_path / "served")
    assert "values" in tf.saved_model.load(path).signatures["predict"].structured_outputs


def test_what_is_there_is_not_replaced(tmp_path):
    learner = MAML(mlp(), inner_steps=1)
    (tmp_path / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="Received: path="):
            tfmeta.export_learner(learner, tmp_path, overwrite=overwrite)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    path = tfmeta.export_learner(learner, tmp_path / "served")
    with pytest.raises(ValueError, match="overwrite=False"):
        tfmeta.export_learner(learner, path)
    tfmeta.export_learner(learner, path, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt", "served"]


@keras.saving.register_keras_serializable("tests")
class Unrepeatable(keras.layers.Layer):
    """A layer whose outputs differ from call to call."""

    def call(self, inputs):
        return inputs + tf.random.normal(tf.shape(inputs))


def test_an_export_without_parity_leaves_nothing(tmp_path):
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), Unrepeatable()])
    with pytest.raises(ValueError, match="must repeat the learner's outputs"):
        tfmeta.export_learner(PrototypicalNetwork(network), tmp_path / "served")
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match="must be a tfmeta learner"):
        tfmeta.export_learner(mlp(), tmp_path / "served")
    with pytest.raises(ValueError, match="`task` must be one of"):
        tfmeta.export_learner(MAML(mlp()), tmp_path / "served", task="ranking")
