"""An LSTM over an LSTM: what it reads of the inner one, its derivatives, saving and export."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta.inner_loop import MetaLSTMRule
from tfmeta.learners import InnerMemory, MetaLSTM
from tfmeta.models import lstm_forecaster

WINDOW, HORIZON, N_TASKS = 4, 2, 2


def series(n_tasks=N_TASKS, n_windows=3):
    """Waves of a phase and a period of their own: windows, and what follows."""
    draws = np.random.default_rng(0)
    start = draws.uniform(0, 6, (n_tasks, 1, 1)) + np.arange(n_windows + 1)[None, :, None]
    values = np.sin(draws.uniform(0.5, 2, (n_tasks, 1, 1)) * (start + np.arange(WINDOW + HORIZON)))
    values = values.astype("float32")
    x, y = values[..., :WINDOW], values[..., WINDOW:]
    inputs = {"support_x": x[:, :-1], "support_y": y[:, :-1], "query_x": x[:, -1:]}
    return inputs, y[:, -1:]


def learner(**options):
    keras.utils.set_random_seed(0)
    network = lstm_forecaster(WINDOW, HORIZON, units=3, return_state=True, from_last=True)
    rule = MetaLSTMRule(0.1, forget=0.95, units=3, n_context=2)
    learner = MetaLSTM(network, update_rule=rule, memory="lstm", inner_steps=2, **options)
    draws = np.random.default_rng(1)
    for v in rule.trainable_variables:
        v.assign_add(draws.normal(0.0, 0.3, v.shape))
    return learner


def test_every_weight_reads_its_own_unit():
    network = lstm_forecaster(WINDOW, HORIZON, units=3, return_state=True)
    memory = InnerMemory(network, "lstm", network.trainable_variables)
    h, c = tf.constant([[0.0, 2.0, 4.0], [2.0, 4.0, 6.0]]), tf.constant([[7.0, 8.0, 9.0]] * 2)
    of_each = memory.of_coordinates(h, c).numpy()
    assert of_each.shape == (network.count_params(), 2)
    parts = dict(
        zip(
            ["kernel", "recurrent", "bias", "head", "head bias"],
            np.split(of_each, np.cumsum([12, 36, 12, 6])),
            strict=True,
        )
    )
    units = np.array([[1.0, 7.0], [3.0, 8.0], [5.0, 9.0]])
    np.testing.assert_array_equal(parts["kernel"], np.tile(units, (4, 1)))
    np.testing.assert_array_equal(parts["recurrent"], np.tile(units, (12, 1)))
    np.testing.assert_array_equal(parts["bias"], np.tile(units, (4, 1)))
    np.testing.assert_array_equal(parts["head"], units.repeat(HORIZON, 0))
    np.testing.assert_array_equal(parts["head bias"], np.zeros((2, 2)))


def test_the_states_are_those_of_the_layer():
    model = learner()
    x = tf.constant(series()[0]["support_x"][0])
    outputs, h, c = model._inner_memory.network(x)
    np.testing.assert_allclose(outputs, model.network(x), rtol=1e-6)
    layer = model.network.get_layer("lstm")
    _, wanted_h, wanted_c = layer((x - x[:, -1:])[..., None])
    np.testing.assert_allclose(h, wanted_h, rtol=1e-6)
    np.testing.assert_allclose(c, wanted_c, rtol=1e-6)
    assert len(model.weights) == len(model.network.weights) + 7


def test_second_derivatives_through_both_lstms():
    assert tfmeta.gradcheck(learner(order=2), *series(1)) < 1e-6


def test_the_memory_changes_the_update():
    inputs, _ = series()
    model = learner()
    support = [inputs[k][0] for k in ("support_x", "support_y")]
    before = model.adapt(*support).weights
    kernel = model.update_rule.kernel
    kernel.assign(np.concatenate([kernel.numpy()[:4], np.zeros((2, 12))]))
    after = model.adapt(*support).weights
    assert max(np.abs(a - b).max() for a, b in zip(before, after, strict=True)) > 1e-5


def test_all_tasks_at_once_take_the_same_step():
    ends = []
    for engine in ("mapped", "vectorized"):
        model = learner(engine=engine)
        assert model.active_engine == engine
        model.compile(keras.optimizers.SGD(0.1), loss="mae")
        model.fit(*series(4), batch_size=4, epochs=2, verbose=0)
        ends.append(model.get_weights())
    for mapped, vectorized in zip(*ends, strict=True):
        np.testing.assert_allclose(vectorized, mapped, rtol=1e-4, atol=1e-6)


def test_training_saving_and_export(tmp_path):
    inputs, query_y = series(8)
    model = learner()
    model.compile(keras.optimizers.Adam(0.01), loss="mae")
    losses = model.fit(inputs, query_y, batch_size=4, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "learner.keras")
    loaded = keras.saving.load_model(tmp_path / "learner.keras")
    assert loaded.memory == "lstm"
    few = {k: v[:2] for k, v in inputs.items()}  # without a graph a call takes long
    outputs = model(few)
    np.testing.assert_array_equal(loaded(few), outputs)
    path = tfmeta.export_learner(model, tmp_path / "served")
    given = {k: tf.constant(v[0]) for k, v in inputs.items()}
    served = tf.saved_model.load(path).signatures["serving_default"](**given)["values"]
    np.testing.assert_allclose(served, outputs[0], rtol=1e-5, atol=1e-6)


def test_bad_arguments():
    network = lstm_forecaster(WINDOW, HORIZON, units=3)
    with pytest.raises(ValueError, match=r"`return_state=True`\. Received: memory='lstm'"):
        MetaLSTM(network, memory="lstm")
    with pytest.raises(ValueError, match=r"Received: memory='other', in a network of \['window'"):
        MetaLSTM(network, memory="other")
    with pytest.raises(ValueError, match=r"`n_context=0`.*Received: n_context=2"):
        MetaLSTM(network, update_rule=MetaLSTMRule(n_context=2))
