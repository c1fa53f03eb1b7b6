"""Sequence learners: what they read, in which order, and the protocol of streams."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta.data import Examples, stream_dataset
from tfmeta.learners import InstanceAccuracy, SequenceLearner
from tfmeta.learners.sequence_learner import stream_order
from tfmeta.learners.streams import labels_one_late, read_stream
from tfmeta.models.memory import MANN

DRAWS = np.random.default_rng(0)


def flat(size=2, dtype="float32"):
    """A backbone whose features are the examples."""
    return keras.Sequential([keras.Input((size,), dtype=dtype), keras.layers.Flatten(dtype=dtype)])


def mann(**options):
    return MANN(6, n_slots=5, slot_width=3, n_heads=2, **options)


def learner_of(core=None, **options):
    return SequenceLearner(flat(), core or mann(), **{"n_way": 2, **options})


def streams(n=4, steps=6):
    x = DRAWS.standard_normal((n, steps, 2)).astype("float32")
    return {"stream_x": x, "stream_y": DRAWS.integers(0, 2, (n, steps)).astype("int32")}


def test_a_query_is_the_next_step_of_the_stream():
    learner = learner_of()
    x = DRAWS.standard_normal((4, 2)).astype("float32")
    y = np.array([0, 1, 1], "int32")
    order = stream_order(tf.constant(x[:3])).numpy()
    read_x, read_y = np.concatenate([x[:3][order], x[3:]]), np.append(y[order], 0)
    wanted = learner.stream_logits(read_x[None], read_y[None])[0, -1]
    got = learner.predict_query(learner.adapt(x[:3], y), x[3:])
    np.testing.assert_allclose(got[0], wanted, rtol=1e-5, atol=1e-6)


def test_labels_come_one_step_late():
    learner = learner_of()
    inputs = streams(1)
    logits = learner.stream_logits(**inputs)
    inputs["stream_y"] = inputs["stream_y"].copy()
    inputs["stream_y"][0, 3] = 1 - inputs["stream_y"][0, 3]
    changed = np.abs(learner.stream_logits(**inputs) - logits).max(axis=(0, 2))
    assert (changed[:4] == 0).all() and (changed[4:] > 1e-6).all()
    late = labels_one_late(tf.constant([[2, 0, 1]]), 3, "float32")
    np.testing.assert_array_equal(late, [[[0, 0, 0], [0, 0, 1], [1, 0, 0]]])


def test_the_order_is_mixed_and_belongs_to_the_set():
    x = tf.constant(DRAWS.random((40, 5)), "float32")
    order = stream_order(x).numpy()
    assert sorted(order) == list(range(40)) and (order != np.arange(40)).sum() > 30
    turned = tf.reverse(x, [0])
    np.testing.assert_array_equal(tf.gather(x, order), tf.gather(turned, stream_order(turned)))
    # Close examples, as those of a class are, do not come one after the other.
    near = x[:1] + 0.01 * x
    assert np.abs(np.diff(stream_order(near))).mean() > 5


def test_stock_cells_are_read_as_keras_reads_them():
    cell = keras.layers.LSTMCell(3)
    stream = tf.constant(DRAWS.standard_normal((2, 5, 4)), "float32")
    outputs = keras.layers.RNN(cell, return_sequences=True)(stream)
    np.testing.assert_allclose(read_stream(cell, stream)[0], outputs, rtol=1e-5, atol=1e-6)
    assert learner_of(keras.layers.GRUCell(3)).on_streams()(streams()).shape == (4, 6, 2)


def test_fit_on_streams_lowers_the_loss_and_trains_the_learner():
    learner, inputs = learner_of(), streams(8)
    model = learner.on_streams()
    model.compile(keras.optimizers.Adam(0.02), metrics=[InstanceAccuracy(2)])
    before = learner.get_weights()
    history = model.fit(inputs, inputs["stream_y"], batch_size=4, epochs=12, verbose=0).history
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    assert all(np.abs(a - b).max() > 0 for a, b in zip(learner.get_weights(), before, strict=True))
    logits = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(logits, learner.stream_logits(**inputs), rtol=1e-4, atol=1e-5)
    loss = keras.losses.sparse_categorical_crossentropy(
        inputs["stream_y"], logits, from_logits=True
    )
    np.testing.assert_allclose(
        model.evaluate(inputs, inputs["stream_y"], verbose=0)[0], np.mean(loss), rtol=1e-5
    )


def test_streams_on_two_replicas_are_those_of_one(two_replicas):
    def trained(strategy):
        keras.utils.set_random_seed(0)
        inputs = {k: np.concatenate([v, v]) for k, v in fixed.items()}
        data = tf.data.Dataset.from_tensor_slices((inputs, inputs["stream_y"])).batch(4)
        with strategy.scope():
            learner = learner_of()
            model = learner.on_streams()
            model.compile(keras.optimizers.SGD(0.1))
        model.fit(data, verbose=0)
        return learner.get_weights()

    fixed = streams()
    one, two = trained(tf.distribute.get_strategy()), trained(two_replicas)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-6)


def test_streams_of_other_lengths_do_not_retrace(monkeypatch):
    traces = []
    project = MANN.project
    monkeypatch.setattr(MANN, "project", lambda self, x: traces.append(1) or project(self, x))
    model = learner_of().on_streams()
    model.compile("adam")
    lengths = (4, 5, 6, 9, 13)
    batches = [streams(2, steps) for steps in lengths]
    kinds = {"stream_x": tf.TensorSpec([2, None, 2]), "stream_y": tf.TensorSpec([2, None], "int32")}
    data = tf.data.Dataset.from_generator(
        lambda: ((each, each["stream_y"]) for each in batches),
        output_signature=(kinds, kinds["stream_y"]),
    )
    model.fit(data, steps_per_epoch=len(lengths), verbose=0)
    # One when Keras builds the step, one for all lengths.
    assert len(traces) <= 2


def test_gradients_agree_with_finite_differences():
    learner = learner_of()
    inputs = {
        "support_x": DRAWS.standard_normal((2, 4, 2)),
        "support_y": np.tile([0, 1, 1, 0], (2, 1)).astype("int32"),
        "query_x": DRAWS.standard_normal((2, 3, 2)),
    }
    assert tfmeta.gradcheck(learner, inputs, np.array([[0, 1, 1], [1, 0, 0]], "int32")) < 1e-6


def test_export_reads_a_stream_into_a_state(tmp_path):
    learner = learner_of()
    path = tfmeta.export_learner(learner, tmp_path / "served")
    served = tf.saved_model.load(path).signatures
    x = tf.constant(DRAWS.standard_normal((5, 2)), "float32")
    y, names = tf.constant([0, 1, 1, 0, 1]), tf.constant(["a", "b"])
    state = served["adapt"](support_x=x, support_y=y, class_names=names)
    # The state of the cell and the last label.
    assert len([name for name in state if name.startswith("state_")]) == 8
    got = served["predict"](query_x=x[:3] + 1.0, **state)["logits"]
    wanted = learner.predict_query(learner.adapt(x, y), x[:3] + 1.0)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.fixture
def double():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def test_float64(double):
    learner = SequenceLearner(flat(dtype="float64"), mann(dtype="float64"), n_way=2)
    state = learner.adapt(tf.eye(2, dtype="float64"), tf.constant([0, 1]))
    assert learner.predict_query(state, tf.eye(2, dtype="float64")).dtype == "float64"


def test_bad_input():
    with pytest.raises(ValueError, match="must have the dtype of the backbone"):
        learner_of(mann(dtype="float64"))
    with pytest.raises(ValueError, match="Keras RNN cell or a causal layer"):
        learner_of("mann")
    with pytest.raises(ValueError, match="n_way=0"):
        learner_of(n_way=0)
    learner = learner_of()
    with pytest.raises(ValueError, match=r"class numbers 0 \.\.\. n_way - 1.* 2"):
        learner.adapt(np.zeros((2, 2), "float32"), np.array([0, 2]))
    with pytest.raises(ValueError, match="Use `MAML` for regression"):
        learner.adapt(np.zeros((2, 2), "float32"), np.zeros((2, 1), "float32"))
    with pytest.raises(ValueError, match="needs a core with a memory"):
        learner_of(keras.layers.LSTMCell(2)).trace(tf.zeros([1, 2, 2]), tf.zeros([1, 2], "int32"))


def test_bad_streams():
    model = learner_of().on_streams()
    model.compile("sgd")
    inputs = streams()
    y = inputs["stream_y"]
    with pytest.raises(ValueError, match=r"stream_y` must hold class numbers.*2"):
        model.fit({**inputs, "stream_y": y + 1}, y, verbose=0)
    with pytest.raises(ValueError, match="Streams must be a dict"):
        model({"x": inputs["stream_x"]})
    with pytest.raises(ValueError, match="`stream_x` must have the shape"):
        model({**inputs, "stream_x": inputs["stream_x"][..., :1]})
    with pytest.raises(ValueError, match=r"`stream_y` must have the axes \[streams, steps\]"):
        model({**inputs, "stream_y": y[:, :3]})


def test_evaluate_streams():
    x = np.repeat(np.arange(8), 6)[:, None] + 0.1 * DRAWS.standard_normal((48, 2))
    examples = Examples(x.astype("float32"), np.repeat(np.arange(8), 6))
    data = stream_dataset(examples, n_way=2, n_presentations=4, n_tasks=2, n_episodes=6)
    learner = learner_of()
    report = tfmeta.evaluate_streams(learner, data, n_instances=3)
    assert report.per_stream.shape == (6, 3) and "2: " in str(report)
    right = []
    for inputs, y in data:
        logits = learner.on_streams()(inputs)
        right += list(np.argmax(logits, -1) == y.numpy())
    # The share of all steps of the first three instances that are right.
    assert report.interval(1)[0] <= 1.0
    counted = np.mean([r for r in right])
    whole = tfmeta.evaluate_streams(learner, data, n_instances=4)
    np.testing.assert_allclose(whole.per_stream.mean(), counted)
    with pytest.raises(ValueError, match="instance=4"):
        report.interval(4)
    with pytest.raises(ValueError, match="Every class must come"):
        tfmeta.evaluate_streams(learner, data, n_instances=5)
    with pytest.raises(ValueError, match="must end"):
        tfmeta.evaluate_streams(learner, stream_dataset(examples, n_way=2, n_presentations=4))
