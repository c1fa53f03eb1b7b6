"""Pretrained networks as backbones that take raw pictures of any size."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.layers import ApplicationPreprocessing
from tfmeta.models import pretrained, squeezenet


def pictures(n=2, height=40, width=50, channels=3):
    shape = (n, height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape).astype("uint8")


def small():
    layers = [keras.layers.Conv2D(4, 3, name="body"), keras.layers.BatchNormalization()]
    return keras.Sequential([keras.Input((32, 32, 3)), *layers], name="small")


def test_squeezenet_has_the_published_size():
    assert squeezenet().count_params() == 722_496
    assert squeezenet(outputs=7).output_shape == (None, 7)


def test_a_file_of_weights_is_loaded(tmp_path):
    source = squeezenet()
    source.save_weights(tmp_path / "squeezenet.weights.h5")
    backbone = pretrained("squeezenet", weights=tmp_path / "squeezenet.weights.h5")
    for got, wanted in zip(backbone.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_pictures_are_resized_and_preprocessed_in_the_graph():
    network, x = small(), pictures()
    got = pretrained(network, preprocessing="vgg16")(x)
    resized = tf.image.resize(tf.cast(x, "float32"), (32, 32))
    # Blue, green, red with the means of ImageNet subtracted.
    wanted = network(resized[..., ::-1] - tf.constant([103.939, 116.779, 123.68]))
    np.testing.assert_allclose(got, tf.reduce_mean(wanted, (1, 2)), rtol=1e-4, atol=1e-4)


def test_a_model_keeps_its_weights_and_is_shared():
    network = small()
    backbone = pretrained(network, outputs=3)
    assert backbone.output_shape == (None, 3)
    assert any(w is network.weights[0] for w in backbone.weights)


def test_a_keras_file(tmp_path):
    network = small()
    network.save(tmp_path / "small.keras")
    backbone = pretrained(tmp_path / "small.keras")
    np.testing.assert_allclose(backbone(pictures()), pretrained(network)(pictures()), rtol=1e-6)


def test_the_round_trip_keeps_the_outputs(tmp_path):
    backbone = pretrained(small(), preprocessing="densenet")
    backbone.save(tmp_path / "backbone.keras")
    loaded = keras.saving.load_model(tmp_path / "backbone.keras")
    np.testing.assert_array_equal(loaded(pictures()), backbone(pictures()))
    np.testing.assert_array_equal(backbone(pictures()), backbone(pictures(), training=False))


def test_a_network_of_keras_applications():
    backbone = pretrained("mobilenetv2", weights=None, image_size=32)
    assert backbone(pictures()).shape == (2, 1280)
    assert backbone.get_layer("preprocessing").application == "mobilenet_v2"


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match=r"MobileNetV2.*Received: source='MobileNet9'"):
        pretrained("MobileNet9")
    with pytest.raises(ValueError, match="must be a file"):
        pretrained("squeezenet")
    with pytest.raises(ValueError, match=r"must exist.*absent\.h5"):
        pretrained("squeezenet", weights=tmp_path / "absent.h5")
    with pytest.raises(ValueError, match=r"absent\.keras"):
        pretrained(tmp_path / "absent.keras")
    with pytest.raises(ValueError, match="network for pictures"):
        pretrained(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]))
    with pytest.raises(ValueError, match="vgg16"):
        ApplicationPreprocessing("vgg99")


def test_weights_that_cannot_be_downloaded(monkeypatch):
    def fail(**_):
        raise Exception("URL fetch failure on https://example.org: None")

    monkeypatch.setattr(keras.applications, "VGG16", fail)
    with pytest.raises(ValueError, match=r"VGG16 must be downloaded.*weights="):
        pretrained("VGG16")
