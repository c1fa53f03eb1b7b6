"""Exact normalisation layers: the stock layers' outputs, with the right second derivative."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta import layers

DRAWS = np.random.default_rng(0)
EXACT = {
    "BatchNormalization": layers.BatchNormalization,
    "LayerNormalization": layers.LayerNormalization,
    "GroupNormalization": layers.GroupNormalization,
}
CASES = [
    ("BatchNormalization", {}),
    ("BatchNormalization", {"axis": 1}),
    ("BatchNormalization", {"scale": False, "epsilon": 0.1}),
    ("BatchNormalization", {"center": False, "momentum": 0.3}),
    ("LayerNormalization", {}),
    ("LayerNormalization", {"axis": 1}),
    ("LayerNormalization", {"axis": [1, -1]}),
    ("LayerNormalization", {"scale": False}),
    ("LayerNormalization", {"center": False, "epsilon": 0.1}),
    ("GroupNormalization", {"groups": 2}),
    ("GroupNormalization", {"groups": 1}),
    ("GroupNormalization", {"groups": -1}),
    ("GroupNormalization", {"groups": 2, "axis": 1}),
    ("GroupNormalization", {"groups": 2, "scale": False}),
    ("GroupNormalization", {"groups": 2, "center": False}),
]


def pair(name, arguments, shape=(8, 4, 3, 6)):
    """A stock layer and an exact one with the same random weights."""
    stock, exact = getattr(keras.layers, name)(**arguments), EXACT[name](**arguments)
    for layer in (stock, exact):
        layer.build((None, *shape[1:]))
    exact.set_weights([DRAWS.uniform(0.5, 2.0, w.shape) for w in stock.get_weights()])
    stock.set_weights(exact.get_weights())
    return stock, exact


@pytest.mark.parametrize("name, arguments", CASES)
@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_weights_are_those_of_the_stock_layer(name, arguments, training):
    stock, exact = pair(name, arguments)
    x = tf.constant(DRAWS.normal(1.0, 2.0, (8, 4, 3, 6)), tf.float32)
    flag = {"training": training} if name == "BatchNormalization" else {}
    np.testing.assert_allclose(exact(x, **flag), stock(x, **flag), rtol=2e-5, atol=2e-6)
    for got, wanted in zip(exact.get_weights(), stock.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name, arguments", CASES)
def test_config_round_trip_under_its_own_name(name, arguments):
    _, exact = pair(name, arguments)
    config = keras.saving.serialize_keras_object(exact)
    assert config["registered_name"] == f"tfmeta>{name}"
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is EXACT[name]
    assert copy.get_config() == exact.get_config()


@pytest.mark.parametrize("name", EXACT)
def test_half_precision_takes_its_moments_in_float32(name):
    # The square of a deviation of 300 overflows float16, whose largest number is 65,504.
    layer = EXACT[name](dtype="mixed_float16", **({"groups": 1} if "Group" in name else {}))
    x = tf.constant(DRAWS.normal(0.0, 1000.0, (64, 16)), tf.float16)
    outputs = layer(x, **({"training": True} if "Batch" in name else {}))
    assert outputs.dtype == tf.float16
    assert 0.9 < float(tf.math.reduce_std(tf.cast(outputs, tf.float32))) < 1.1


@pytest.mark.parametrize("name", EXACT)
def test_unknown_sizes_in_a_graph(name):
    exact = EXACT[name](**({"groups": 2} if "Group" in name else {}))
    model = keras.Sequential([keras.Input((None, None, 4)), exact])
    x = tf.constant(DRAWS.standard_normal((2, 5, 3, 4)), tf.float32)
    assert model.predict(x, verbose=0).shape == (2, 5, 3, 4)


def hessian_vector_error(layer, x, vector):
    """Relative error of the second derivative along a vector, against central differences."""
    flag = {"training": True} if isinstance(layer, keras.layers.BatchNormalization) else {}

    def gradient(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            scalar = tf.reduce_sum(weights * tf.math.softplus(layer(z, **flag)))
        return tape.gradient(scalar, z)

    weights = np.random.default_rng(1).standard_normal(x.shape)
    with tf.GradientTape() as tape:
        tape.watch(x)
        slope = tf.reduce_sum(gradient(x) * vector)
    product = tape.gradient(slope, x)
    wanted = (gradient(x + 1e-5 * vector) - gradient(x - 1e-5 * vector)) / 2e-5
    return float(tf.norm(product - wanted) / tf.norm(wanted))


@pytest.mark.parametrize("name", EXACT)
def test_second_derivative_is_exact_and_the_stock_one_is_not(name):
    arguments = {"dtype": "float64", **({"groups": 2} if "Group" in name else {})}
    x, vector = (tf.constant(DRAWS.standard_normal((6, 8))) for _ in range(2))
    assert hessian_vector_error(EXACT[name](**arguments), x, vector) < 1e-7
    assert hessian_vector_error(getattr(keras.layers, name)(**arguments), x, vector) > 1e-3


def test_a_mask_is_honoured_as_in_the_stock_layer():
    stock, exact = pair("BatchNormalization", {}, (4, 5, 3))
    x = tf.constant(DRAWS.standard_normal((4, 5, 3)), tf.float32)
    mask = tf.constant(DRAWS.integers(0, 2, (4, 5)), tf.bool)
    np.testing.assert_allclose(
        exact(x, training=True, mask=mask), stock(x, training=True, mask=mask), rtol=1e-5
    )


def test_rms_scaling_is_as_in_the_stock_layer():
    stock = keras.layers.LayerNormalization(rms_scaling=True)
    exact = layers.LayerNormalization(rms_scaling=True)
    x = tf.constant(DRAWS.standard_normal((4, 5)), tf.float32)
    np.testing.assert_allclose(exact(x), stock(x), rtol=1e-6)


class TestNormalizeBy:
    """Which statistics a batch normalisation uses inside the scope."""

    x = tf.constant(DRAWS.normal(3.0, 2.0, (64, 2)), tf.float32)

    def layer(self, **arguments):
        layer = layers.BatchNormalization(momentum=0.5, epsilon=1e-6, **arguments)
        layer.build((None, 2))
        return layer

    @pytest.mark.parametrize("training", [True, False, None])
    def test_batch_leaves_the_batch_s_own_statistics(self, training):
        layer = self.layer()
        with layers.normalize_by("batch"):
            outputs = layer(self.x, training=training)
        np.testing.assert_allclose(np.mean(outputs, 0), [0.0, 0.0], atol=1e-5)
        np.testing.assert_allclose(layer.moving_mean, self.x.numpy().mean(0), rtol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, self.x.numpy().var(0), rtol=1e-4)
        assert layer.momentum == 0.5

    @pytest.mark.parametrize("training", [True, False, None])
    def test_moving_uses_and_keeps_the_moving_statistics(self, training):
        layer = self.layer()
        with layers.normalize_by("moving"):
            outputs = layer(self.x, training=training)
        np.testing.assert_allclose(outputs, self.x, rtol=1e-5)
        np.testing.assert_array_equal(layer.moving_mean, [0.0, 0.0])

    @pytest.mark.parametrize("training", [True, False, None])
    def test_update_moves_the_moving_statistics_by_the_momentum(self, training):
        layer = self.layer()
        with layers.normalize_by("update"):
            outputs = layer(self.x, training=training)
        np.testing.assert_allclose(np.mean(outputs, 0), [0.0, 0.0], atol=1e-5)
        np.testing.assert_allclose(layer.moving_mean, 0.5 * self.x.numpy().mean(0), rtol=1e-5)

    def test_a_frozen_layer_keeps_its_statistics_always(self):
        layer = self.layer(trainable=False)
        for source in layers.normalization.SOURCES:
            with layers.normalize_by(source):
                np.testing.assert_allclose(layer(self.x), self.x, rtol=1e-5)
        np.testing.assert_array_equal(layer.moving_mean, [0.0, 0.0])

    def test_scopes_nest_and_end_and_momentum_comes_back_after_an_error(self):
        layer = self.layer()
        with layers.normalize_by("batch"), layers.normalize_by("moving"):
            np.testing.assert_allclose(layer(self.x), self.x, rtol=1e-5)
        with pytest.raises(ValueError), layers.normalize_by("batch"):
            layer(tf.zeros([2, 3, 4, 5, 6]))
        assert layer.momentum == 0.5
        np.testing.assert_allclose(layer(self.x, training=False), self.x, rtol=1e-5)

    def test_an_unknown_source_is_refused(self):
        with (
            pytest.raises(ValueError, match="Received: source='support'"),
            layers.normalize_by("support"),
        ):
            pass
