"""A loss or a gradient that is not finite stops training before the update."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.learners import MAML, PrototypicalNetwork

BAD = 104


def episodes(bad="query_x"):
    """Eight one-task steps; the fifth, episode 104, has a value that is not a number."""
    draws = np.random.default_rng(0)
    inputs = {
        "support_x": draws.random((8, 4, 3), "float32"),
        "support_y": np.tile([0, 0, 1, 1], (8, 1)).astype("int32"),
        "query_x": draws.random((8, 2, 3), "float32"),
        "episode": np.arange(100, 108),
    }
    inputs[bad][4, 0, 0] = np.nan
    return inputs, np.tile([0, 1], (8, 1)).astype("int32")


def learner_of(kind, **options):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization()]
    if kind is MAML:
        network = keras.Sequential([*layers, keras.layers.Dense(2)])
        learner = MAML(network, inner_steps=1, statistics="running")
    else:
        learner = PrototypicalNetwork(keras.Sequential(layers))
    learner.compile(keras.optimizers.SGD(0.1), **options)
    return learner


def fit(learner, data, n_steps=8, **options):
    inputs, query_y = data
    part = {key: x[:n_steps] for key, x in inputs.items()}
    learner.fit(part, query_y[:n_steps], batch_size=1, shuffle=False, verbose=0, **options)


def assert_same(got, wanted):
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("bad", ["support_x", "query_x"])
@pytest.mark.parametrize("kind", [MAML, PrototypicalNetwork])
@pytest.mark.parametrize("options", [{}, {"steps_per_execution": 4}, {"run_eagerly": True}])
def test_training_stops_at_that_step_with_the_weights_before_it(kind, options, bad):
    stopped, wanted = learner_of(kind, **options), learner_of(kind)
    with pytest.raises(ValueError, match=rf"not finite.*learning rates.*episodes.*{BAD}"):
        fit(stopped, episodes(bad))
    fit(wanted, episodes(bad), n_steps=4)
    for got, want in zip(stopped.get_weights(), wanted.get_weights(), strict=True):
        # Moving statistics and the optimizer's counter are among what must not move.
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)
    assert int(keras.ops.convert_to_numpy(stopped.optimizer.iterations)) == 4


def test_a_gradient_that_overflows_is_seen_though_the_loss_is_finite():
    @keras.saving.register_keras_serializable("tfmeta_tests")
    class Steep(keras.layers.Layer):
        def call(self, x):
            # sqrt has a finite value and an infinite slope at zero.
            return tf.sqrt(tf.nn.relu(x))

    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), Steep()])
    network.set_weights([np.zeros((3, 2), "float32"), np.zeros(2, "float32")])
    learner = PrototypicalNetwork(network)
    learner.compile("sgd")
    with pytest.raises(ValueError, match="or its gradient is not finite"):
        fit(learner, episodes())
    assert_same(learner.get_weights(), [np.zeros((3, 2)), np.zeros(2)])


def test_the_files_of_callbacks_hold_the_last_good_weights(tmp_path):
    learner = learner_of(MAML)
    last = tmp_path / "last.keras"
    callbacks = [
        keras.callbacks.ModelCheckpoint(last, save_freq=1),
        keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1),
    ]
    with pytest.raises(ValueError, match=str(BAD)):
        fit(learner, episodes(), callbacks=callbacks)
    good = learner_of(MAML)
    fit(good, episodes(), n_steps=4)
    assert_same(keras.saving.load_model(last).get_weights(), good.get_weights())
    (backup,) = (tmp_path / "backup").rglob("*.weights.h5")
    restored = learner_of(MAML)
    restored.load_weights(backup)
    assert_same(restored.get_weights(), good.get_weights())


def test_evaluation_is_not_stopped():
    learner = learner_of(MAML)
    logs = learner.evaluate(*episodes(), verbose=0, return_dict=True)
    assert np.isnan(logs["loss"])
