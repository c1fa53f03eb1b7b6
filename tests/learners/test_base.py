"""What the base class does with pictures, types, compile options and states."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.learners import MAML, EpisodicLearner, PrototypicalNetwork

DRAWS = np.random.default_rng(0)


def network(shape=(4,), **options):
    layers = [keras.layers.Flatten(), keras.layers.Dense(3, **options)]
    return keras.Sequential([keras.Input(shape), *layers])


def episodes(shape=(4,), n_tasks=2):
    inputs = {
        "support_x": DRAWS.random((n_tasks, 6, *shape), "float32"),
        "support_y": np.tile([0, 0, 1, 1, 2, 2], (n_tasks, 1)),
        "query_x": DRAWS.random((n_tasks, 3, *shape), "float32"),
    }
    return inputs, np.tile([0, 1, 2], (n_tasks, 1))


def test_uint8_pictures_are_scaled_to_one():
    learner = PrototypicalNetwork(network((4, 4, 1)))
    inputs, _ = episodes((4, 4, 1))
    raw = {**inputs, **{k: (255 * inputs[k]).astype("uint8") for k in ("support_x", "query_x")}}
    scaled = {**raw, **{k: raw[k] / np.float32(255) for k in ("support_x", "query_x")}}
    np.testing.assert_allclose(learner(raw), learner(scaled), rtol=1e-5, atol=1e-6)


def test_uint8_pictures_stay_for_a_network_that_takes_them():
    inner = keras.Sequential([keras.Input((4, 4, 1), dtype="uint8"), keras.layers.Rescaling(2.0)])
    learner = PrototypicalNetwork(
        keras.Sequential([keras.Input((4, 4, 1), dtype="uint8"), inner, keras.layers.Flatten()])
    )
    ones = np.ones((1, 4, 4, 1), "uint8")
    np.testing.assert_array_equal(learner.adapt(ones, [0]).head.prototypes, np.full((1, 16), 2.0))


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_examples_of_other_types_are_cast(dtype):
    inputs, _ = episodes()
    whole = {k: np.round(9 * x) if k != "support_y" else x for k, x in inputs.items()}
    cast = {k: x.astype(dtype) if k != "support_y" else x for k, x in whole.items()}
    learner = PrototypicalNetwork(network())
    np.testing.assert_allclose(learner(cast), learner(whole), rtol=1e-5, atol=1e-5)


@pytest.fixture
def policy_back():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("policy_back")
@pytest.mark.parametrize("policy, dtype", [("mixed_float16", "float32"), ("float64", "float64")])
@pytest.mark.parametrize("kind", [MAML, PrototypicalNetwork])
def test_outputs_and_fast_weights_are_of_the_type_of_the_weights(kind, policy, dtype):
    keras.config.set_dtype_policy(policy)
    learner = kind(normalized())
    learner.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"])
    inputs, query_y = episodes()
    history = learner.fit(inputs, query_y, validation_data=(inputs, query_y), verbose=0).history
    assert np.isfinite(history["val_loss"][0])
    assert learner(inputs).dtype == dtype
    state = learner.adapt(inputs["support_x"][0], inputs["support_y"][0])
    assert {tensor.dtype for tensor in tf.nest.flatten(state)} == {tf.as_dtype(dtype)}


def normalized():
    layers = [keras.layers.Dense(3), keras.layers.BatchNormalization(), keras.layers.Dense(3)]
    return keras.Sequential([keras.Input((4,)), *layers])


def test_predicting_needs_no_compile():
    inputs, _ = episodes()
    learner = MAML(network(), inner_steps=1)
    np.testing.assert_allclose(learner.predict(inputs, verbose=0), learner(inputs), rtol=1e-5)


def test_nothing_is_kept_on_the_learner():
    inputs, _ = episodes()
    learner = MAML(network(), inner_steps=1)
    first = learner.adapt(inputs["support_x"][0], inputs["support_y"][0])
    outputs = learner.predict_query(first, inputs["query_x"][0])
    learner.adapt(inputs["support_x"][1], inputs["support_y"][1])
    np.testing.assert_array_equal(learner.predict_query(first, inputs["query_x"][0]), outputs)


@pytest.mark.parametrize("asked", ["auto", False, True])
def test_jit_compile_is_saved_as_asked_not_as_it_came_out(asked, tmp_path):
    learner = MAML(network(), inner_steps=1)
    learner.compile(jit_compile=asked)
    assert learner.jit_compile is (asked is True)
    assert learner.get_compile_config()["jit_compile"] == asked
    learner.save(tmp_path / "learner.keras")
    assert keras.saving.load_model(tmp_path / "learner.keras").asked_jit_compile == asked


def test_a_compiled_loss_is_the_outer_one_and_its_kind_of_mean_is_taken_per_episode():
    inputs, query_y = episodes()
    weight = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]], "float32")
    learner = PrototypicalNetwork(network())
    learner.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = keras.losses.sparse_categorical_crossentropy(query_y, learner(inputs), True).numpy()
    got = learner.evaluate(inputs, query_y, sample_weight=weight, verbose=0)
    np.testing.assert_allclose(got, (losses[0].mean() + losses[1, 0]) / 2, rtol=1e-5)


def test_regularizers_are_part_of_the_loss():
    inputs, query_y = episodes()
    losses = []
    for rate in (0.0, 10.0):
        keras.utils.set_random_seed(0)
        learner = PrototypicalNetwork(network(kernel_regularizer=keras.regularizers.L2(rate)))
        learner.compile()
        losses.append(learner.evaluate(inputs, query_y, verbose=0))
    kernel = learner.backbone.weights[0].numpy()
    np.testing.assert_allclose(losses[1] - losses[0], 10.0 * np.square(kernel).sum(), rtol=1e-4)


@keras.saving.register_keras_serializable("tfmeta_tests")
class NearestExample(EpisodicLearner):
    """A learner of two methods: the class of the nearest support example."""

    def __init__(self, network, **kwargs):
        super().__init__(network, statistics="support", **kwargs)

    def adapt(self, support_x, support_y, support_mask=None, *, training=False):
        x, y = self.support_examples(support_x, support_y, support_mask)
        return self.network(x), tf.one_hot(y, tf.reduce_max(y) + 1)

    def predict_query(self, state, query_x):
        features, one_hot = state
        queries = self.network(self.network_input(query_x))
        nearness = tf.nn.softmax(tf.matmul(queries, features, transpose_b=True))
        return tf.math.log(tf.matmul(nearness, one_hot))


def test_a_new_method_is_two_methods():
    inputs, query_y = episodes()
    learner = NearestExample(network())
    learner.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"])
    history = learner.fit(inputs, query_y, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert learner.predict(inputs, verbose=0).shape == (2, 3, 3)
