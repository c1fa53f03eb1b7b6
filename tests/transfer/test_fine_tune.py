"""Fine-tuning: what trains and what stays, stages, rates, batch normalisation, saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.transfer import FineTune, recalibrate


def backbone():
    layers = [
        keras.layers.Dense(6, name="low"),
        keras.layers.BatchNormalization(momentum=0.5, name="norm"),
        keras.layers.Activation("softplus"),
        keras.layers.Dense(5, name="high"),
    ]
    return keras.Sequential([keras.Input((4,)), *layers])


def data(n=24):
    draws = np.random.default_rng(0)
    y = np.arange(n) % 3
    return (draws.standard_normal((n, 4)) + 2.0 * y[:, None]).astype("float32"), y


def make(optimizer="adam", **options):
    keras.utils.set_random_seed(0)
    model = FineTune(backbone(), 3, **options)
    model.compile(optimizer, metrics=["accuracy"])
    return model


def moved(model, before):
    """Names of the layers whose weights are not bit for bit as they were."""
    pairs = zip(model.weights, before, strict=True)
    return {w.path.split("/")[-2] for w, old in pairs if not np.array_equal(w, old)}


def fit(model, **options):
    return model.fit(*data(), **{"batch_size": 8, "shuffle": False, "verbose": 0, **options})


@pytest.mark.parametrize(
    ("train", "layers"),
    [
        ("head", {"head"}),
        ("body", {"low", "norm", "high"}),
        ("all", {"low", "norm", "high", "head"}),
        ("high|head", {"high", "head"}),
    ],
)
def test_what_does_not_train_stays_bit_for_bit(train, layers):
    model = make(keras.optimizers.AdamW(0.01, weight_decay=0.1), train=train)
    before = model.get_weights()
    fit(model, epochs=2)
    assert moved(model, before) == layers


def test_stages_inside_one_fit():
    model = make(stages=[("head", 1), ("high|head", 2), ("all", 1)])
    trained = []

    def note(epoch, logs):
        trained.append((epoch, moved(model, note.before)))
        note.before = model.get_weights()

    note.before = model.get_weights()
    history = fit(model, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=note)])
    everything = {"low", "norm", "high", "head"}
    assert trained == [(0, {"head"}), (1, {"high", "head"}), (2, {"high", "head"}), (3, everything)]
    assert len(history.epoch) == 4
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_a_fit_goes_on_in_the_stage_of_its_first_epoch():
    model = make(stages=[("head", 1), ("all", 1)])
    before = model.get_weights()
    fit(model, initial_epoch=1, epochs=2)
    assert "low" in moved(model, before)


def test_rates_decay_from_the_head_down():
    plain, slowed = make("sgd"), make("sgd", rate_decay=0.5)
    start = plain.get_weights()
    for model in (plain, slowed):
        model.train_on_batch(*data(8))
    steps = [
        [after - before for after, before in zip(m.get_weights(), start, strict=True)]
        for m in (plain, slowed)
    ]
    # Kernel and bias of "low", gamma and beta of the norm, "high", the head; moving statistics.
    factors = [0.125, 0.125, 0.25, 0.25, 0.5, 0.5, 1.0, 1.0]
    by_path = {v.path: f for v, f in zip(plain.trainable_variables, factors, strict=True)}
    for variable, step, slow in zip(plain.weights, *steps, strict=True):
        factor = by_path.get(variable.path, 0.0)
        np.testing.assert_allclose(slow, factor * step, rtol=1e-4, atol=1e-7, err_msg=variable.path)


def test_the_pull_towards_the_pretrained_weights():
    model = make("sgd", l2_sp=3.0)
    x, y = data(8)
    assert float(model.evaluate(x, y, verbose=0)[0]) == pytest.approx(
        float(model.compute_loss(x, y, model(x), training=True)), rel=1e-5
    )
    start = model.backbone.get_weights()
    model.backbone.layers[0].kernel.assign_add(tf.ones((4, 6)))
    added = model.compute_loss(x, y, model(x)) - model.compute_loss(x, y, model(x), training=False)
    np.testing.assert_allclose(added, 0.5 * 3.0 * 24, rtol=1e-5)
    model.backbone.set_weights(start)
    free, held = make(l2_sp=0.0), make(l2_sp=100.0)
    distances = []
    for each in (free, held):
        before = each.backbone.get_weights()
        fit(each, epochs=8)
        after = each.backbone.get_weights()
        distances.append(sum(np.sum((a - b) ** 2) for a, b in zip(after, before, strict=True)))
    assert distances[1] < 0.4 * distances[0]


def test_batch_normalisation_is_frozen_moves_or_is_recalibrated():
    x = data()[0]
    statistics = {}
    for policy in ("frozen", "batch", "recalibrated"):
        model = make(batch_norm=policy)
        fit(model)
        norm, low = model.backbone.get_layer("norm"), model.backbone.get_layer("low")
        statistics[policy] = norm.moving_mean.numpy(), low(x).numpy().mean(axis=0)
    np.testing.assert_array_equal(statistics["frozen"][0], 0.0)
    assert np.abs(statistics["batch"][0]).max() > 0.1
    np.testing.assert_allclose(*statistics["recalibrated"], rtol=1e-4, atol=1e-5)


def test_recalibration_needs_a_batch_and_leaves_the_statistics_without():
    model = make().backbone
    with pytest.raises(ValueError, match="at least one batch"):
        recalibrate(model, [])
    np.testing.assert_array_equal(model.get_layer("norm").moving_mean, 0.0)


def test_the_head_on_features_is_the_head_on_examples():
    on_examples, on_features = make("sgd", train="head"), make("sgd", train="head")
    fit(on_examples, epochs=3)
    history = on_features.fit_on_features(
        *data(), validation_data=data(9), epochs=3, batch_size=8, shuffle=False, verbose=0
    )
    assert "val_accuracy" in history.history
    for a, b in zip(on_features.get_weights(), on_examples.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    losses = [model.evaluate(*data(), verbose=0)[0] for model in (on_features, on_examples)]
    np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_backbone_passes_once_over_the_data_whatever_the_epochs(epochs):
    model, calls = make("sgd"), []
    model.compile("sgd", run_eagerly=True)
    call = model.backbone.call
    model.backbone.call = lambda *args, **options: calls.append(1) or call(*args, **options)
    model.fit_on_features(*data(), epochs=epochs, batch_size=8, verbose=0)
    assert len(calls) == 3


def test_the_pass_for_features_is_traced_once_and_predict_still_gives_logits():
    model, traces = make("sgd"), []
    call = model.backbone.call
    model.backbone.call = lambda *args, **options: traces.append(1) or call(*args, **options)
    logits = model.predict(data()[0], verbose=0)
    features = [model.features(data()[0]) for _ in range(3)]
    assert len(traces) == 2
    np.testing.assert_array_equal(features[0], features[2])
    np.testing.assert_allclose(model.head(features[0]), logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.predict(data()[0], verbose=0), logits)
    fit(model)
    assert np.abs(model.features(data()[0]) - features[0]).max() > 1e-4
    model.compile("sgd", run_eagerly=True)
    model.features(data()[0])
    assert len(traces) > 3


def test_a_loaded_model_goes_on_as_if_nothing_had_happened(tmp_path):
    model = make(stages=[("head", 1), ("all", 2)], rate_decay=0.9, l2_sp=0.1)
    fit(model, epochs=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(data()[0], verbose=0), model.predict(data()[0], verbose=0)
    )
    histories = [fit(m, initial_epoch=2, epochs=3).history for m in (model, loaded)]
    assert histories[0] == histories[1]


def test_raw_pictures_are_scaled():
    layers = [keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    model = FineTune(keras.Sequential(layers), 2)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 2, 2, 1)).astype("uint8")
    np.testing.assert_allclose(model(pictures), model(pictures / np.float32(255)), rtol=1e-5)


def test_two_replicas_are_one(two_replicas):
    one = make("sgd", rate_decay=0.5)
    with two_replicas.scope():
        two = make("sgd", rate_decay=0.5)
    for model in (one, two):
        fit(model, epochs=2)
    for a, b in zip(two.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_bad_input():
    with pytest.raises(ValueError, match=r"at least one trainable variable.*train='block9'.*low"):
        make(train="block9")
    with pytest.raises(ValueError, match="must train the head"):
        make(stages=[("low", 1), ("body", 1)])
    with pytest.raises(ValueError, match="at least one epoch"):
        make(stages=[("head", 0)])
    with pytest.raises(ValueError, match=r"features \[batch, features\]"):
        FineTune(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)]), 3)
    with pytest.raises(ValueError, match="built"):
        FineTune(keras.Sequential([keras.layers.Dense(3)]), 3)
    with pytest.raises(ValueError, match="reach the last stage"):
        fit(make(stages=[("head", 2), ("all", 1)]), epochs=2)
    for option in ({"rate_decay": 0.0}, {"batch_norm": "off"}, {"l2_sp": -1.0}):
        with pytest.raises(ValueError, match=next(iter(option))):
            make(**option)


def test_a_loss_that_is_not_finite_leaves_the_weights():
    model, (x, y) = make(), data(8)
    before = model.get_weights()
    x[3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        model.fit(x, y, verbose=0)
    assert not moved(model, before)
