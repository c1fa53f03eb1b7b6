"""The exported classifier: raw pictures in, names out, with TensorFlow alone."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta.models import pretrained
from tfmeta.transfer import DAN, FineTune, add_adapters, merge_adapters

NAMES = ["cat", "dog", "owl"]


def backbone():
    """A small pretrained backbone, which takes pictures of any size."""
    layers = [
        keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="conv"),
        keras.layers.BatchNormalization(),
    ]
    network = keras.Sequential([keras.Input((16, 16, 3)), *layers], name="network")
    return pretrained(network, preprocessing="mobilenet_v2")


def pictures(n=4, height=30, width=21):
    draws = np.random.default_rng(n)
    return tf.constant(draws.integers(0, 256, (n, height, width, 3)), tf.uint8)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A fine-tuned model, its folder and its signature."""
    keras.utils.set_random_seed(0)
    model = FineTune(backbone(), 3)
    model.compile("adam")
    model.fit(pictures(6), np.arange(6) % 3, verbose=0)
    path = tmp_path_factory.mktemp("export") / "served"
    path = tfmeta.export_classifier(model, path, class_names=NAMES)
    return model, path, tf.saved_model.load(path).signatures["serve"]


@pytest.mark.parametrize(("n", "height", "width"), [(4, 30, 21), (1, 16, 16), (2, 64, 40)])
def test_pictures_of_any_size_get_names(served, n, height, width):
    model, _, serve = served
    x = pictures(n, height, width)
    outputs = serve(x=x)
    wanted = tf.nn.softmax(model(x))
    np.testing.assert_allclose(outputs["probabilities"], wanted, rtol=1e-5, atol=1e-6)
    label = np.argmax(wanted, axis=1)
    np.testing.assert_array_equal(outputs["label"], label)
    np.testing.assert_allclose(outputs["probability"], np.max(wanted, axis=1), rtol=1e-5)
    assert [name.decode() for name in outputs["class_name"].numpy()] == [NAMES[k] for k in label]
    assert [name.decode() for name in outputs["class_names"].numpy()] == NAMES


def test_tensorflow_alone_serves_it(served, tmp_path):
    script = """
import sys
sys.modules["tfmeta"] = None  # an import of it fails
import tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
outputs = serve(tf.zeros([2, 50, 20, 3], tf.uint8))
print("served", outputs["class_name"].numpy()[0].decode(), outputs["probabilities"].shape)
"""
    run = subprocess.run(
        [sys.executable, "-I", "-c", script, served[1]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert run.stdout.strip() in [f"served {name} (2, 3)" for name in NAMES], run.stderr


def test_what_went_in_is_described(served):
    with open(f"{served[1]}/assets/tfmeta.json", encoding="utf8") as file:
        described = json.load(file)
    assert described == {
        "model": "FineTune",
        "class_names": NAMES,
        "example_shape": [None, None, 3],
        "example_dtype": "uint8",
    }


def test_adapters_as_they_are_and_merged(tmp_path):
    model = FineTune(add_adapters(backbone(), "lora", pattern="conv", rank=2), 2)
    for variable in model.trainable_variables:
        variable.assign_add(0.1 * tf.ones_like(variable))
    merged = FineTune(merge_adapters(model.backbone), model.head)
    probabilities = []
    for name, each in (("adapted", model), ("merged", merged)):
        path = tfmeta.export_classifier(each, tmp_path / name)
        outputs = tf.saved_model.load(path).signatures["serve"](x=pictures())
        probabilities.append(outputs["probabilities"])
    np.testing.assert_allclose(*probabilities, rtol=1e-4, atol=1e-5)
    assert [n.decode() for n in outputs["class_names"].numpy()] == ["0", "1"]


def test_a_learner_of_domain_adaptation(tmp_path):
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    model = DAN(keras.Sequential(layers), 3)
    path = tfmeta.export_classifier(model, tmp_path / "served", class_names=NAMES)
    x = tf.constant(np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1)), tf.uint8)
    outputs = tf.saved_model.load(path).signatures["serve"](x=x)
    # Scaled to 0 ... 1, as in training.
    wanted = tf.nn.softmax(model(tf.cast(x, "float32") / 255.0))
    np.testing.assert_allclose(outputs["probabilities"], wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ends", ["softmax", "layer", "logits"])
def test_any_classifier_of_keras(ends, tmp_path):
    layers = [keras.layers.Dense(3, activation="softmax" if ends == "softmax" else None)]
    layers += [keras.layers.Softmax()] if ends == "layer" else []
    model = keras.Sequential([keras.Input((5,)), *layers])
    path = tfmeta.export_classifier(model, tmp_path / "served")
    x = tf.constant(np.random.default_rng(0).standard_normal((2, 5)), tf.float32)
    outputs = tf.saved_model.load(path).signatures["serve"](x=x)
    wanted = tf.nn.softmax(model(x)) if ends == "logits" else model(x)
    np.testing.assert_allclose(outputs["probabilities"], wanted, rtol=1e-5)


@keras.saving.register_keras_serializable("tests")
class Jitter(keras.layers.Layer):
    """A layer whose outputs differ from call to call."""

    def call(self, inputs):
        return inputs + tf.random.normal(tf.shape(inputs))


def test_an_export_without_parity_leaves_nothing(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), Jitter()])
    with pytest.raises(ValueError, match="must repeat the model's outputs"):
        tfmeta.export_classifier(model, tmp_path / "served")
    assert list(tmp_path.iterdir()) == []


def test_bad_input(tmp_path):
    def dense(units):
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])

    with pytest.raises(ValueError, match="one input"):
        tfmeta.export_classifier(keras.Sequential([keras.layers.Dense(2)]), tmp_path / "served")
    with pytest.raises(ValueError, match="at least two classes"):
        tfmeta.export_classifier(dense(1), tmp_path / "served")
    for names in (["a"], ["a", "a"]):
        with pytest.raises(ValueError, match="2 different names"):
            tfmeta.export_classifier(dense(2), tmp_path / "served", class_names=names)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="Received: path="):
        tfmeta.export_classifier(dense(2), tmp_path, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
