"""Meta-gradients against finite differences in float64, and that the stock layers fail."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta import layers, models
from tfmeta.learners import MAML, PrototypicalNetwork

TOLERANCE = 1e-6


@pytest.fixture(autouse=True)
def fixed_weights():
    keras.utils.set_random_seed(0)


def episodes(shape, *, n_way, n_tasks):
    """A batch of episodes of noise: two shots and four queries."""
    draws = np.random.default_rng(0)
    labels = np.tile(np.repeat(np.arange(n_way), 2), (n_tasks, 1)).astype("int32")
    inputs = {
        "support_x": draws.standard_normal((*labels.shape, *shape)),
        "support_y": labels,
        "query_x": draws.standard_normal((n_tasks, 4, *shape)),
    }
    return inputs, draws.integers(0, n_way, (n_tasks, 4)).astype("int32")


def pictures():
    return episodes((16, 16, 1), n_way=2, n_tasks=1)


def vectors(shape=(4,)):
    return episodes(shape, n_way=3, n_tasks=2)


@pytest.mark.parametrize("inner_steps", [1, 3])
@pytest.mark.parametrize("normalization", ["batch", "layer", "group"])
def test_maml_conv4(normalization, inner_steps):
    network = models.conv4((16, 16, 1), outputs=2, filters=8, normalization=normalization)
    learner = MAML(network, inner_steps=inner_steps, update_rule=0.05)
    assert tfmeta.gradcheck(learner, *pictures()) < TOLERANCE


def test_maml_strided_conv4():
    network = models.conv4((16, 16, 1), outputs=2, filters=8, downsampling="stride")
    learner = MAML(network, inner_steps=1, update_rule=0.05)
    assert tfmeta.gradcheck(learner, *pictures()) < TOLERANCE


def deep(norm, **kwargs):
    """Two layers before the normalisation: with one, the stock layers pass by luck."""
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, activation="softplus"),
            keras.layers.Dense(8, activation="softplus"),
            norm(**kwargs),
            keras.layers.Dense(6, activation="softplus"),
            keras.layers.Dense(3),
        ]
    )


@pytest.mark.parametrize("statistics", ["support", "transductive", "running"])
def test_maml_under_every_kind_of_statistics(statistics):
    network = deep(keras.layers.BatchNormalization)
    learner = MAML(network, inner_steps=2, update_rule=0.1, statistics=statistics)
    assert tfmeta.gradcheck(learner, *vectors()) < TOLERANCE


@pytest.mark.parametrize("adapt", ["head", "body"])
def test_maml_that_adapts_a_part(adapt):
    learner = MAML(deep(keras.layers.LayerNormalization), inner_steps=2, adapt=adapt)
    assert tfmeta.gradcheck(learner, *vectors()) < TOLERANCE


@pytest.mark.parametrize("distance", ["squared_euclidean", "cosine"])
@pytest.mark.parametrize("statistics", ["support", "transductive", "running"])
def test_prototypical_network(statistics, distance):
    backbone = deep(keras.layers.BatchNormalization)
    learner = PrototypicalNetwork(backbone, statistics=statistics, distance=distance)
    assert tfmeta.gradcheck(learner, *vectors()) < TOLERANCE


def test_prototypical_network_on_conv4():
    learner = PrototypicalNetwork(models.conv4((16, 16, 1), filters=8))
    assert tfmeta.gradcheck(learner, *pictures()) < TOLERANCE


def test_dropout():
    network = deep(keras.layers.Dropout, rate=0.3, seed=1)
    learner = MAML(network, inner_steps=2, update_rule=0.1)
    assert tfmeta.gradcheck(learner, *vectors()) < TOLERANCE


def test_lstm_without_cudnn():
    network = keras.Sequential(
        [keras.Input((3, 4)), keras.layers.LSTM(5, use_cudnn=False), keras.layers.Dense(3)]
    )
    learner = MAML(network, inner_steps=1, update_rule=0.1)
    assert tfmeta.gradcheck(learner, *vectors(shape=(3, 4))) < TOLERANCE


def test_regression():
    draws = np.random.default_rng(0)
    x, y = draws.uniform(-5, 5, (2, 2, 6, 1)), draws.standard_normal((2, 2, 6, 1))
    inputs = {"support_x": x[0], "support_y": y[0], "query_x": x[1]}
    learner = MAML(models.mlp(hidden=(8, 8)), inner_steps=2)
    assert tfmeta.gradcheck(learner, inputs, y[1]) < TOLERANCE


def test_the_first_order_approximation_is_off():
    learner = MAML(deep(keras.layers.LayerNormalization), inner_steps=2, update_rule=0.5, order=1)
    assert tfmeta.gradcheck(learner, *vectors()) > 1e-3


@keras.saving.register_keras_serializable("tfmeta_tests")
class StockMoments(layers.BatchNormalization):
    """What the library's layer would be without its own moments."""

    def _call_exact(self, inputs):
        with self._momentum_zero():
            return keras.layers.BatchNormalization.call(self, inputs, training=True)

    def _moments(self, inputs, mask):
        return keras.layers.BatchNormalization._moments(self, inputs, mask)


def with_stock_norm(name):
    """A learner with a stock layer put back after the swap."""
    arguments = {"groups": 2} if name == "GroupNormalization" else {}
    norm = StockMoments if name == "BatchNormalization" else getattr(keras.layers, name)
    learner = MAML(deep(norm, **arguments), inner_steps=2, update_rule=0.5)
    if name != "BatchNormalization":
        learner.network.layers[2].__class__ = getattr(keras.layers, name)
    return learner


@pytest.mark.parametrize("name", ["BatchNormalization", "LayerNormalization", "GroupNormalization"])
def test_the_stock_layers_fail(name, monkeypatch):
    # The check works on a copy, whose constructor would swap the layer once more.
    learner = with_stock_norm(name)
    monkeypatch.setattr("tfmeta.learners.base.use_exact_layers", lambda network: [])
    assert tfmeta.gradcheck(learner, *vectors()) > 1e-4


def test_the_learner_is_as_it_was():
    learner = MAML(deep(keras.layers.BatchNormalization), inner_steps=1)
    before = learner.get_weights()
    tfmeta.gradcheck(learner, *vectors())
    for got, wanted in zip(learner.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert {w.dtype for w in learner.network.weights} == {"float32"}


def test_a_meta_gradient_of_zero_cannot_be_checked():
    learner = MAML(models.mlp(hidden=(4,)), inner_steps=1)
    for weight in learner.weights:
        weight.assign(tf.zeros_like(weight))
    x = np.zeros((1, 2, 1))
    inputs = {"support_x": x, "support_y": x, "query_x": x}
    with pytest.raises(ValueError, match="Received: a gradient of length 0"):
        tfmeta.gradcheck(learner, inputs, x)


@pytest.mark.slow
def test_hessian_vector_products_of_every_layer_of_mobilenet():
    network = keras.applications.MobileNetV2((32, 32, 3), weights=None, classes=4)
    x = np.random.default_rng(0).standard_normal((4, 32, 32, 3))
    stock = tfmeta.hessian_vector_check(network, x)
    of_norms = [error for name, error in stock.items() if "bn" in name.lower()]
    assert len(of_norms) == 52 and max(of_norms) > 1e-3
    layers.use_exact_layers(network)
    errors = tfmeta.hessian_vector_check(network, x)
    assert set(errors) == set(stock)
    assert max(errors.values()) < TOLERANCE
