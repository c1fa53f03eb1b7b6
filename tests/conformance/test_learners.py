"""What is promised of every learner, over a table of learners: see conftest.py."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

# One of each sort, for promises that the base class keeps alone.
one_of_each = pytest.mark.parametrize(
    "kind", ["maml_running", "maml_regression", "prototypes_support"], indirect=True
)


def assert_weights(learner, wanted, **tolerance):
    for got, want in zip(learner.get_weights(), wanted, strict=True):
        np.testing.assert_allclose(got, want, **(tolerance or {"rtol": 0}))


def as_dataset(inputs, query_y, n_tasks=2):
    return tf.data.Dataset.from_tensor_slices((inputs, query_y)).batch(n_tasks)


def fit(learner, data, **options):
    options = {"batch_size": 2, "shuffle": False, "verbose": 0, **options}
    return learner.fit(*data, **options).history


@pytest.fixture(scope="module")
def trained(make_learner, make_episodes):
    """A learner after a short training, its history and its weights before."""
    learner = make_learner(keras.optimizers.Adam(0.02))
    before, data = learner.get_weights(), make_episodes(8)
    history = fit(learner, data, batch_size=4, epochs=12, validation_data=data)
    return learner, history, before


def test_fit_lowers_the_loss(trained):
    _, history, _ = trained
    assert history["loss"][-1] < 0.9 * history["loss"][0]


def test_evaluate_and_predict_take_arrays_and_datasets(make_learner, make_episodes):
    learner = make_learner()
    inputs, query_y = make_episodes()
    outputs = learner.predict(inputs, batch_size=2, verbose=0)
    assert outputs.shape == (4, 4, 2 if query_y.ndim == 3 else 3)
    np.testing.assert_allclose(outputs, learner(inputs), rtol=1e-5, atol=1e-6)
    dataset = as_dataset(inputs, query_y)
    np.testing.assert_array_equal(learner.predict(dataset, verbose=0), outputs)
    of_arrays = learner.evaluate(inputs, query_y, batch_size=2, verbose=0, return_dict=True)
    assert learner.evaluate(dataset, verbose=0, return_dict=True) == of_arrays


def test_the_loss_is_the_mean_over_episodes(make_learner, make_episodes):
    learner = make_learner()
    inputs, query_y = make_episodes(3)
    logs = learner.evaluate(inputs, query_y, batch_size=2, verbose=0, return_dict=True)
    outputs = learner(inputs)
    if query_y.ndim == 3:
        loss = np.square(outputs - query_y).mean()
    else:
        loss = keras.losses.sparse_categorical_crossentropy(query_y, outputs, from_logits=True)
    np.testing.assert_allclose(logs["loss"], np.mean(loss), rtol=1e-5)


def test_scores_of_every_inner_step_are_in_validation_logs_only(kind, trained):
    _, history, _ = trained
    paths = {name for name in history if "@" in name}
    metric, n_steps = ("mse", 4) if "regression" in kind else ("acc", 3)
    assert paths == {f"val_{metric}@{k}" for k in range(n_steps) if "maml" in kind}
    if "val_accuracy" in history and paths:
        np.testing.assert_allclose(history["val_acc@2"], history["val_accuracy"], rtol=1e-6)
    if "val_mse@3" in history:
        np.testing.assert_allclose(history["val_mse@3"], history["val_loss"], rtol=1e-5)
        assert history["val_mse@3"][-1] < history["val_mse@0"][-1]


@one_of_each
def test_several_steps_per_execution_change_nothing(make_learner, make_episodes):
    # Five batches, so that the second execution is cut short.
    data = make_episodes(10)
    one, four = make_learner(), make_learner(steps_per_execution=4)
    histories = [fit(learner, data)["loss"] for learner in (one, four)]
    assert_weights(four, one.get_weights(), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(*histories, rtol=1e-6)


@one_of_each
def test_eager_is_the_graph(make_learner, make_episodes):
    data = make_episodes(2)
    graph, eager = make_learner(), make_learner(run_eagerly=True)
    histories = [fit(learner, data)["loss"] for learner in (graph, eager)]
    assert_weights(eager, graph.get_weights(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(*histories, rtol=1e-5)
    logs = [m.evaluate(*data, verbose=0, return_dict=True) for m in (graph, eager)]
    np.testing.assert_allclose(list(logs[0].values()), list(logs[1].values()), rtol=1e-4)


@one_of_each
def test_the_same_seed_gives_the_same_weights(make_learner, make_episodes):
    data = make_episodes()
    first, second = make_learner(), make_learner()
    for learner in (first, second):
        fit(learner, data)
    assert_weights(second, first.get_weights())


@one_of_each
def test_standard_callbacks(make_learner, make_episodes, tmp_path):
    learner = make_learner()
    best, rates = tmp_path / "best.keras", []
    callbacks = [
        keras.callbacks.ModelCheckpoint(best, save_best_only=True),
        keras.callbacks.EarlyStopping(patience=5),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TensorBoard(tmp_path / "board"),
        keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5 * rate),
        keras.callbacks.LambdaCallback(
            on_epoch_end=lambda *_: rates.append(float(learner.optimizer.learning_rate))
        ),
    ]
    data = make_episodes()
    fit(learner, data, epochs=2, validation_data=data, callbacks=callbacks)
    np.testing.assert_allclose(rates, [0.025, 0.0125])
    assert keras.saving.load_model(best).count_params() == learner.count_params()
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    assert {path.parent.name for path in tmp_path.glob("board/*/events.*")} == {
        "train",
        "validation",
    }


def with_padding(inputs, query_y):
    """The same episodes, with support and query examples of nonsense at odd places."""
    draws = np.random.default_rng(7)

    def grow(x, places):
        nonsense = 50.0 * draws.standard_normal((len(x), 1, *x.shape[2:]))
        return np.insert(x, places, nonsense.astype(x.dtype), axis=1)

    padded = {k: grow(x, [1, 3, 6] if "support" in k else [0, 4]) for k, x in inputs.items()}
    if np.issubdtype(padded["support_y"].dtype, np.integer):
        padded["support_y"] = np.insert(inputs["support_y"], [1, 3, 6], 2, axis=1)
    n_tasks, n_support = inputs["support_x"].shape[:2]
    padded["support_mask"] = np.insert(
        np.ones((n_tasks, n_support), bool), [1, 3, 6], False, axis=1
    )
    weight = np.insert(np.ones(query_y.shape[:2], "float32"), [0, 4], 0.0, axis=1)
    return padded, np.insert(query_y, [0, 4], 0, axis=1), weight


def test_padded_episodes_give_the_results_of_unpadded_ones(make_learner, make_episodes):
    inputs, query_y = make_episodes()
    padded, padded_y, weight = with_padding(inputs, query_y)
    plain, filled = (
        make_learner(),
        make_learner(weighted_metrics=["mse" if query_y.ndim == 3 else "accuracy"]),
    )
    logs = plain.evaluate(inputs, query_y, batch_size=2, verbose=0, return_dict=True)
    of_padded = filled.evaluate(
        padded, padded_y, sample_weight=weight, batch_size=2, verbose=0, return_dict=True
    )
    for name, value in logs.items():
        np.testing.assert_allclose(of_padded[name], value, rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(
        fit(filled, (padded, padded_y), sample_weight=weight)["loss"],
        fit(plain, (inputs, query_y))["loss"],
        rtol=1e-6,
    )
    assert_weights(filled, plain.get_weights(), rtol=1e-6, atol=1e-7)


def test_a_support_mask_alone_gives_the_outputs_of_the_unmasked_support(
    make_learner, make_episodes
):
    inputs, query_y = make_episodes(2)
    padded, _, _ = with_padding(inputs, query_y)
    learner = make_learner()
    outputs = learner({**padded, "query_x": inputs["query_x"]})
    np.testing.assert_allclose(outputs, learner(inputs), rtol=1e-6, atol=1e-6)


@one_of_each
def test_sample_weights_weigh_the_loss(make_learner, make_episodes):
    learner = make_learner()
    inputs, query_y = make_episodes()
    ones = np.ones(query_y.shape[:2], "float32")

    def loss(weight):
        logs = learner.evaluate(
            inputs, query_y, sample_weight=weight, batch_size=4, verbose=0, return_dict=True
        )
        return logs["loss"]

    np.testing.assert_allclose(loss(ones), loss(None), rtol=1e-6)
    np.testing.assert_allclose(loss(2 * ones), 2 * loss(None), rtol=1e-6)


def test_the_order_of_the_support_does_not_matter(make_learner, make_episodes):
    learner = make_learner()
    inputs, _ = make_episodes(2)
    order = np.random.default_rng(0).permutation(inputs["support_x"].shape[1])
    turned = {**inputs, **{k: inputs[k][:, order] for k in ("support_x", "support_y")}}
    np.testing.assert_allclose(learner(turned), learner(inputs), rtol=1e-4, atol=1e-5)


def test_only_a_transductive_query_depends_on_the_others(kind, make_learner, make_episodes):
    learner = make_learner()
    inputs, _ = make_episodes(2)
    others = {**inputs, "query_x": inputs["query_x"].copy()}
    others["query_x"][:, 1:] += 3.0
    change = np.abs(learner(others)[:, 0] - learner(inputs)[:, 0]).max()
    alone = learner({**inputs, "query_x": inputs["query_x"][:, :1]})
    if "transductive" in kind:
        assert change > 1e-3
    else:
        assert change < 1e-6
        # Another number of queries is another order of summation.
        np.testing.assert_allclose(alone[:, 0], learner(inputs)[:, 0], rtol=1e-5, atol=1e-5)


def test_the_methods_for_one_episode_give_what_the_call_gives(make_learner, make_episodes):
    learner = make_learner()
    inputs, _ = make_episodes(2)
    state = learner.adapt(inputs["support_x"][1], inputs["support_y"][1])
    outputs = learner.predict_query(state, inputs["query_x"][1])
    np.testing.assert_allclose(outputs, learner(inputs)[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["maml_support", "prototypes_running"], indirect=True)
def test_labels_of_any_integer_type(make_learner, make_episodes):
    inputs, query_y = make_episodes()
    small, wide = make_learner(), make_learner()
    fit(small, ({**inputs, "support_y": inputs["support_y"].astype("uint8")}, query_y))
    fit(
        wide,
        ({**inputs, "support_y": inputs["support_y"].astype("int64")}, query_y.astype("int64")),
    )
    assert_weights(small, wide.get_weights())


def test_moving_statistics_learn_under_running_only(kind, trained):
    learner, _, before = trained
    layers = getattr(learner, learner.network_argument).layers
    layer = next(each for each in layers if isinstance(each, keras.layers.BatchNormalization))
    # A mean and a variance start at zero and one, and stay unless they are gathered.
    kept = [np.all(layer.moving_mean == 0.0), np.all(layer.moving_variance == 1.0)]
    assert kept == [not kind.endswith("running")] * 2
    first = next(i for i, weight in enumerate(learner.weights) if weight.trainable)
    assert not np.array_equal(learner.get_weights()[first], before[first])
    assert layer.momentum == 0.5 and layer.trainable


def test_a_config_makes_the_same_learner(make_learner):
    learner = make_learner()
    config = keras.saving.serialize_keras_object(learner)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(learner)
    for name in ("statistics", "inner_steps", "order", "evaluation_steps", "distance"):
        assert getattr(copy, name, None) == getattr(learner, name, None)
    assert [w.shape for w in copy.weights] == [w.shape for w in learner.weights]


def test_a_loaded_learner_goes_on_as_if_nothing_had_happened(make_learner, make_episodes, tmp_path):
    data = make_episodes()
    learner = make_learner(keras.optimizers.Adam(0.01))
    fit(learner, data)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.saving.load_model(tmp_path / "learner.keras")
    np.testing.assert_array_equal(loaded(data[0]), learner(data[0]))
    for got, wanted in zip(loaded.optimizer.variables, learner.optimizer.variables, strict=True):
        np.testing.assert_array_equal(got, wanted)
    histories = [fit(m, data, epochs=2) for m in (learner, loaded)]
    assert histories[0] == histories[1]
    assert_weights(loaded, learner.get_weights())


CONTINUE = """
import sys
import keras, numpy as np, tfmeta
learner = keras.saving.load_model(sys.argv[1] + "/learner.keras")
data = dict(np.load(sys.argv[1] + "/data.npz"))
query_y = data.pop("query_y")
learner.fit(data, query_y, batch_size=2, shuffle=False, verbose=0)
np.savez(sys.argv[1] + "/weights.npz", *learner.get_weights())
"""


@pytest.mark.parametrize("kind", ["maml_running"], indirect=True)
def test_a_fresh_process_goes_on_bit_for_bit(make_learner, make_episodes, tmp_path):
    inputs, query_y = make_episodes()
    learner = make_learner(keras.optimizers.Adam(0.01))
    fit(learner, (inputs, query_y))
    learner.save(tmp_path / "learner.keras")
    np.savez(tmp_path / "data.npz", query_y=query_y, **inputs)
    fit(learner, (inputs, query_y))
    subprocess.run([sys.executable, "-c", CONTINUE, str(tmp_path)], check=True)
    weights = np.load(tmp_path / "weights.npz")
    assert_weights(learner, [weights[name] for name in weights.files])
