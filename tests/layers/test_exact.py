"""Swapping exact layers into networks that exist."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta import layers
from tfmeta.layers import moving_statistics, use_exact_layers

X = tf.constant(np.random.default_rng(0).standard_normal((6, 4)), tf.float32)


def every_kind():
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.BatchNormalization(momentum=0.7, name="batch"),
            keras.layers.Dense(4),
            keras.layers.LayerNormalization(name="layer"),
            keras.layers.GroupNormalization(2, name="group"),
        ]
    )


def test_every_kind_is_swapped_and_nothing_else_changes():
    network = every_kind()
    objects, weights = list(network.layers), network.get_weights()
    outputs = network(X, training=False)
    assert sorted(use_exact_layers(network)) == ["batch", "group", "layer"]
    assert [a is b for a, b in zip(network.layers, objects, strict=True)] == [True] * 4
    assert type(network.get_layer("batch")) is layers.BatchNormalization
    assert type(network.get_layer("layer")) is layers.LayerNormalization
    assert type(network.get_layer("group")) is layers.GroupNormalization
    np.testing.assert_allclose(network(X, training=False), outputs, rtol=1e-5, atol=1e-6)
    for got, wanted in zip(network.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert network.get_layer("batch").momentum == 0.7


def test_a_second_swap_finds_nothing():
    network = every_kind()
    use_exact_layers(network)
    assert use_exact_layers(network) == []


def test_one_line_of_the_log_says_how_many(caplog):
    with caplog.at_level(logging.WARNING, "tfmeta"):
        use_exact_layers(every_kind())
        use_exact_layers(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
    (record,) = caplog.records
    assert "3 stock normalisation layers" in record.getMessage()


def test_shared_and_nested_layers_stay_shared():
    inputs = keras.Input((4,))
    norm = keras.layers.BatchNormalization(name="shared")
    inner = keras.Sequential([keras.Input((4,)), keras.layers.LayerNormalization(name="inner")])
    network = keras.Model(inputs, norm(inner(norm(inputs))))
    assert sorted(use_exact_layers(network)) == ["inner", "shared"]
    assert type(norm) is layers.BatchNormalization
    assert len(network.weights) == 6


class Block(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norms = [keras.layers.BatchNormalization(name="first")]
        self.last = keras.layers.LayerNormalization(name="last")

    def call(self, x, training=False):
        return self.last(self.norms[0](x, training=training))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.block = Block()

    def call(self, x, training=False):
        return self.block(x, training=training)


def test_layers_inside_subclassed_models_and_layers_are_found():
    network = Subclassed()
    network(X)
    assert sorted(use_exact_layers(network)) == ["first", "last"]
    assert len(moving_statistics(network)) == 2


def test_layers_inside_wrappers_are_found():
    wrapped = keras.layers.TimeDistributed(keras.layers.LayerNormalization(name="wrapped"))
    network = keras.Sequential([keras.Input((3, 4)), wrapped])
    assert use_exact_layers(network) == ["wrapped"]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_network_loads_from_its_keras_file(tmp_path, swapped):
    network = every_kind()
    if swapped:
        use_exact_layers(network)
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert type(loaded.get_layer("batch")) is type(network.get_layer("batch"))
    np.testing.assert_array_equal(loaded(X), network(X))


def test_moving_statistics_are_those_of_the_unfrozen_layers():
    network = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.BatchNormalization(trainable=False),
            keras.layers.BatchNormalization(name="second"),
        ]
    )
    wanted = network.get_layer("second")
    found = moving_statistics(network)
    assert found[0] is wanted.moving_mean and found[1] is wanted.moving_variance
    assert len(found) == 2


class Derived(keras.layers.LayerNormalization):
    pass


class DerivedExact(layers.LayerNormalization):
    pass


@pytest.mark.parametrize(
    "layer, message",
    [
        (lambda: keras.layers.SpectralNormalization(keras.layers.Dense(2)), "Spectral"),
        (lambda: keras.layers.BatchNormalization(synchronized=True), "synchronized=True"),
        (lambda: keras.layers.BatchNormalization(renorm=True), "renorm=True"),
        (Derived, "derives from a stock"),
    ],
)
def test_unusable_layers_are_refused_before_anything_is_swapped(layer, message):
    first = keras.layers.BatchNormalization()
    network = keras.Sequential([keras.Input((4,)), first, layer()])
    with pytest.raises(ValueError, match=message):
        use_exact_layers(network)
    assert type(first) is keras.layers.BatchNormalization


def test_a_layer_derived_from_an_exact_one_is_taken():
    network = keras.Sequential([keras.Input((4,)), DerivedExact()])
    assert use_exact_layers(network) == []
