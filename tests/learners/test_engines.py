"""The vectorized engine trains as the mapped one does."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta.inner_loop import Adam, ClippedGradients, LayerStepRates, MetaCurvature, MetaSGD
from tfmeta.learners import MAML, ImplicitMAML, Reptile
from tfmeta.models import conv4, mlp

DRAWS = np.random.default_rng(3)
N_TASKS, N_WAY = 2, 2


def network():
    keras.utils.set_random_seed(1)
    norm = [keras.layers.BatchNormalization(), keras.layers.Activation("softplus")]
    layers = [keras.layers.Conv2D(3, 3, strides=2), *norm, keras.layers.Flatten()]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Dense(N_WAY)])


def episodes():
    def pictures(n):
        return DRAWS.integers(0, 256, (N_TASKS, n, 8, 8, 1)).astype("uint8")

    inputs = {
        "support_x": pictures(4),
        "support_y": np.tile([0, 1, 0, 1], (N_TASKS, 1)),
        "query_x": pictures(6),
    }
    return inputs, np.tile([0, 1], (N_TASKS, 3))


DATA = episodes()
OPTIONS = {
    "second order": lambda: {},
    "first order": lambda: {"order": 1},
    "annealed": lambda: {"order": "anneal", "anneal_steps": 1},
    "head": lambda: {"adapt": "head"},
    "body": lambda: {"adapt": "body"},
    "transductive": lambda: {"statistics": "transductive"},
    "running": lambda: {"statistics": "running"},
    "steps": lambda: {"statistics": "running", "per_step_statistics": True, "multi_step_loss": 4},
    "meta-sgd": lambda: {"update_rule": MetaSGD(0.1)},
    "layers and steps": lambda: {"update_rule": LayerStepRates(0.1)},
    "curvature": lambda: {"update_rule": MetaCurvature(0.1)},
    "clipped adam": lambda: {"update_rule": ClippedGradients(Adam(0.01), max_norm=0.1)},
}


def train(learner, data=DATA, steps=2, **options):
    learner.compile(keras.optimizers.SGD(0.2), metrics=["accuracy"], **options)
    logs = [learner.train_on_batch(*data, return_dict=True) for _ in range(steps)]
    return logs, learner.get_weights()


def assert_same_training(make, **options):
    (logs, weights), (other_logs, other_weights) = (
        train(make(engine), **options) for engine in ("mapped", "vectorized")
    )
    for a, b in zip(logs, other_logs, strict=True):
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-4)
    for a, b in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


SLOW = {"first order", "body", "transductive", "running", "curvature", "clipped adam"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in OPTIONS]
)
def test_both_engines_train_alike(name):
    def make(engine):
        options = {"update_rule": 0.1, "inner_steps": 2, **OPTIONS[name]()}
        return MAML(network(), engine=engine, **options)

    assert_same_training(make)


@pytest.mark.parametrize("statistics", ["support", pytest.param("running", marks=pytest.mark.slow)])
def test_learned_rates_train_the_strided_conv4(statistics):
    # TensorFlow's graph optimizer once made a cycle of this graph.
    net = conv4((8, 8, 1), outputs=N_WAY, filters=4, downsampling="stride")
    learner = MAML(net, update_rule=MetaSGD(0.1), inner_steps=2, statistics=statistics)
    logs, _ = train(learner, steps=1)
    assert np.isfinite(logs[0]["loss"])


def other_network(kind):
    keras.utils.set_random_seed(2)
    layers = {
        "dropout": [keras.layers.Flatten(), keras.layers.Dropout(0.3)],
        "pooling": [keras.layers.Conv2D(3, 3, activation="tanh"), keras.layers.MaxPooling2D(2)],
        "lstm": [keras.layers.Reshape((8, 8)), keras.layers.LSTM(3, use_cudnn=False)],
        "layer": [keras.layers.Conv2D(3, 3), keras.layers.LayerNormalization()],
        "group": [keras.layers.Conv2D(4, 3), keras.layers.GroupNormalization(2)],
        "depthwise": [keras.layers.DepthwiseConv2D(3), keras.layers.Activation("tanh")],
    }[kind]
    end = [keras.layers.Flatten(), keras.layers.Dense(N_WAY)]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers, *end])


@pytest.mark.parametrize("engine", [pytest.param("mapped", marks=pytest.mark.slow), "vectorized"])
@pytest.mark.parametrize("kind", ["dropout", "pooling", "lstm", "layer", "group", "depthwise"])
def test_the_meta_gradient_of_a_layer_agrees_with_finite_differences(kind, engine):
    learner = MAML(other_network(kind), update_rule=0.1, inner_steps=2, engine=engine)
    assert tfmeta.gradcheck(learner, *DATA) < 1e-6


@pytest.mark.parametrize("name", ["head", "steps", "layers and steps", "clipped adam"])
def test_the_meta_gradient_of_an_option_agrees_with_finite_differences(name):
    options = {"update_rule": 0.1, "inner_steps": 2, **OPTIONS[name]()}
    learner = MAML(network(), engine="vectorized", **options)
    assert tfmeta.gradcheck(learner, *DATA) < 1e-6


@pytest.mark.parametrize("inner_batch_size", [None, pytest.param(3, marks=pytest.mark.slow)])
def test_reptile_trains_alike(inner_batch_size):
    def make(engine):
        options = {"update_rule": 0.1, "inner_batch_size": inner_batch_size}
        return Reptile(network(), inner_steps=3, engine=engine, **options)

    assert_same_training(make)


def test_regression_trains_alike():
    def make(engine):
        keras.utils.set_random_seed(1)
        return MAML(mlp(), update_rule=0.01, inner_steps=2, engine=engine)

    x, query_x = DRAWS.standard_normal((2, N_TASKS, 5, 1)).astype("float32")
    data = {"support_x": x, "support_y": np.sin(x), "query_x": query_x}, np.sin(query_x)

    def train_on(engine):
        learner = make(engine)
        learner.compile(keras.optimizers.SGD(0.2))
        return learner.train_on_batch(*data), learner.get_weights()

    (loss, weights), (other_loss, other_weights) = map(train_on, ("mapped", "vectorized"))
    np.testing.assert_allclose(loss, other_loss, rtol=1e-5)
    for a, b in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_xla_compiles_the_vectorized_engine():
    def make(jit_compile):
        learner = MAML(network(), update_rule=0.1, inner_steps=2, engine="vectorized")
        return train(learner, jit_compile=jit_compile)[1]

    for a, b in zip(make(False), make(True), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_what_cannot_be_vectorized_is_mapped_and_named(caplog):
    inputs, query_y = DATA
    masked = {**inputs, "support_mask": np.ones((N_TASKS, 4), bool)}
    with caplog.at_level(logging.WARNING, logger="tfmeta"):
        train(MAML(network(), engine="vectorized"), (masked, query_y), steps=1)
    assert any("mapped, not vectorized, because of ['support_mask']" in m for m in caplog.messages)
    cases = {
        "head_init": MAML(network(), head_init="prototypes"),
        "checkpoint_inner": MAML(network(), checkpoint_inner=True),
        "the conjugate gradient, which is of one task": ImplicitMAML(network()),
    }
    for reason, learner in cases.items():
        assert learner._obstacles(inputs) == [reason]


def test_auto_is_mapped_on_the_cpu_and_the_choice_is_visible():
    assert MAML(network()).active_engine == "mapped"
    assert MAML(network(), engine="vectorized").active_engine == "vectorized"
    with pytest.raises(ValueError, match="`engine` must be one of"):
        MAML(network(), engine="fast")
    assert not tf.config.list_physical_devices("GPU")
