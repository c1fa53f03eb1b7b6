"""Averages of weights: callbacks against averages kept by hand, recalibration, soups."""

import keras
import numpy as np
import pytest

from tfmeta.transfer import EMA, SWA, FineTune, model_soup


def data(n=16):
    draws = np.random.default_rng(0)
    x = (3.0 + 2.0 * draws.standard_normal((n, 4))).astype("float32")
    return x, np.arange(n) % 3


def make(*, norm=True, dropout=0.1, **options):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(5, name="low"), keras.layers.Dropout(dropout)]
    layers += [keras.layers.BatchNormalization(momentum=0.5, name="norm")] * norm
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(3, name="head")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"], **options)
    return model


class Record(keras.callbacks.Callback):
    """Weights at the end of every batch or epoch."""

    def __init__(self, every):
        super().__init__()
        self.weights, self.every = [], every

    def on_train_batch_end(self, batch, logs=None):
        if self.every == "batch":
            self.weights.append(self.model.get_weights())

    def on_epoch_end(self, epoch, logs=None):
        if self.every == "epoch":
            self.weights.append(self.model.get_weights())


def fit(model, callback, every, **options):
    record = Record(every)
    options = {"batch_size": 4, "epochs": 5, "shuffle": False, "verbose": 0, **options}
    history = model.fit(*data(), callbacks=[record, callback], **options)
    return record.weights, history.history


def assert_same(found, wanted, **tolerance):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, **(tolerance or {"rtol": 1e-5, "atol": 1e-6}))


def float_mean(lists):
    arrays = zip(*lists, strict=True)
    return [np.mean(w, axis=0) if w[0].dtype.kind == "f" else w[-1] for w in arrays]


def moved(average, weights, rate):
    pairs = zip(average, weights, strict=True)
    return [a + rate * (w - a) if a.dtype.kind == "f" else w for a, w in pairs]


@pytest.mark.parametrize("validates", [False, True])
def test_swa_is_the_mean_of_the_ends_of_epochs(validates):
    model, swa = make(), SWA(start_epoch=2)
    options = {"validation_data": data()} if validates else {}
    weights, _ = fit(model, swa, "epoch", **options)
    assert swa.n_averaged == 3
    assert_same(model.get_weights(), float_mean(weights[2:]))
    # The raw weights are not lost, and training went on with them.
    assert_same(swa.raw_weights, weights[-1], rtol=0)
    plain = make()
    plain_weights, _ = fit(plain, keras.callbacks.Callback(), "epoch")
    assert_same(weights[-1], plain_weights[-1], rtol=0)


def test_states_of_seeds_are_not_averaged():
    model = make()
    fit(model, SWA(start_epoch=0), "epoch")
    wanted = make()
    fit(wanted, keras.callbacks.Callback(), "epoch")
    states = [
        [np.asarray(v) for v in m.non_trainable_variables if "seed" in v.name]
        for m in (model, wanted)
    ]
    assert len(states[0]) == 1
    np.testing.assert_array_equal(*states)


def test_ema_by_hand():
    model, ema = make(), EMA(0.8)
    weights, _ = fit(model, ema, "batch", epochs=2)
    average = weights[0]
    for more in weights[1:]:
        average = moved(average, more, 0.2)
    assert ema.n_averaged == 8
    assert_same(model.get_weights(), average)
    assert_same(ema.raw_weights, weights[-1], rtol=0)


def test_ema_of_trainable_weights_is_that_of_keras():
    model, theirs = make(norm=False), make(norm=False)
    theirs.optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.8)
    theirs.compile(theirs.optimizer, theirs.loss)
    fit(model, EMA(0.8), "epoch")
    fit(theirs, keras.callbacks.Callback(), "epoch")
    assert_same(
        [np.asarray(v) for v in model.trainable_variables],
        [np.asarray(v) for v in theirs.trainable_variables],
    )


def test_ema_with_several_steps_per_execution_decays_by_the_steps():
    model, ema = make(norm=False, steps_per_execution=2), EMA(0.8)
    weights, _ = fit(model, ema, "batch", epochs=2)
    average = weights[0]
    for more in weights[1:]:
        average = moved(average, more, 0.36)
    assert ema.n_averaged == 4
    assert_same(model.get_weights(), average)


def test_recalibrated_statistics_are_those_of_the_averaged_weights():
    model, (x, _) = make(), data()
    swa = SWA(start_epoch=1, recalibrate_on=[x])
    fit(model, swa, "epoch")
    features = model.get_layer("low")(x).numpy()
    norm = model.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean, features.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, features.var(axis=0), rtol=1e-3)


@pytest.mark.parametrize("validate", ["averaged", "raw"])
def test_validation_is_of_what_it_says(validate):
    model, (x, y) = make(), data()
    swa = SWA(start_epoch=0, recalibrate_on=[x], validate=validate)
    weights, history = fit(model, swa, "epoch", validation_data=(x, y))
    of_average = model.evaluate(x, y, verbose=0)[0]
    model.set_weights(weights[-1])
    wanted = of_average if validate == "averaged" else model.evaluate(x, y, verbose=0)[0]
    assert history["val_loss"][-1] == pytest.approx(wanted, rel=1e-5)
    assert of_average != pytest.approx(model.evaluate(x, y, verbose=0)[0], rel=1e-5)


def test_a_frozen_backbone_is_averaged_bit_for_bit():
    layers = [keras.layers.Dense(5, name="low"), keras.layers.BatchNormalization()]
    backbone = keras.Sequential([keras.Input((4,)), *layers])
    model = FineTune(backbone, 3, stages=[("head", 2), ("head|low", 2)])
    model.compile("sgd")
    before, head = backbone.get_weights(), model.head.get_weights()
    model.fit(*data(), epochs=3, verbose=0, callbacks=[EMA(0.5), SWA(start_epoch=0)])
    assert not np.array_equal(backbone.get_weights()[0], before[0])
    model = FineTune(backbone, 3, train="head")
    model.compile("sgd")
    before = backbone.get_weights()
    model.fit(*data(), epochs=3, verbose=0, callbacks=[EMA(0.9)])
    assert_same(backbone.get_weights(), before, rtol=0)
    assert not np.array_equal(model.head.get_weights()[0], head[0])


@pytest.mark.slow
def test_averaging_on_two_replicas(two_replicas):
    one, averages = make(norm=False, dropout=0.0), []
    with two_replicas.scope():
        two = make(norm=False, dropout=0.0)
    for model in (one, two):
        fit(model, EMA(0.8), "epoch")
        averages.append([np.asarray(v) for v in model.trainable_variables])
    assert_same(*averages)


def test_bad_callbacks():
    with pytest.raises(ValueError, match=r"start_epoch=7, epochs=5"):
        fit(make(), SWA(start_epoch=7), "epoch")
    with pytest.raises(ValueError, match="decay=1"):
        EMA(1.0)
    with pytest.raises(ValueError, match="validate='no'"):
        SWA(start_epoch=0, validate="no")
    model = make()
    model.compile(keras.optimizers.SGD(0.1, use_ema=True), model.loss)
    with pytest.raises(ValueError, match="not by both"):
        fit(model, EMA(), "epoch")


def soup_model(value):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.set_weights([np.full((2, 1), value), np.zeros(1)])
    return model


def near(target):
    return lambda model: -abs(float(model(np.ones((1, 2)))[0, 0]) - 2 * target)


def test_a_uniform_soup_is_the_mean():
    models = [soup_model(v) for v in (0.0, 1.0, 5.0)]
    soup = model_soup(models, validation=near(2.0))
    assert soup.members == (0, 1, 2) and str(soup).startswith("soup of 3: 0, 1, 2, score")
    np.testing.assert_allclose(soup.model(np.ones((1, 2))), [[4.0]])
    np.testing.assert_allclose(soup.scores, [-4.0, -2.0, -6.0])
    assert soup.score == pytest.approx(0.0)
    np.testing.assert_allclose(models[0].get_weights()[0], 0.0)
    counts = model_soup([[np.array([1, 2])], [np.array([7, 8])]])
    np.testing.assert_array_equal(counts.weights[0], [1, 2])


def test_a_greedy_soup_takes_what_helps():
    # From the best, 1.0: with 1.5 it is 1.25, nearer to 1.2; with 9 it is farther.
    models = [soup_model(v) for v in (9.0, 1.0, 1.5)]
    soup = model_soup(models, validation=near(1.2), greedy=True)
    assert soup.members == (1, 2)
    np.testing.assert_allclose(soup.model(np.ones((1, 2))), [[2.5]], rtol=1e-6)
    of_lists = model_soup(
        [m.get_weights() for m in models],
        validation=lambda w: -abs(float(w[0].mean()) - 1.2),
        greedy=True,
    )
    assert of_lists.members == (1, 2) and of_lists.model is None
    assert_same(of_lists.weights, soup.weights)


def test_bad_soups():
    wide = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match=r"number 1 with \('kernel', \(3, 1\)\)"):
        model_soup([soup_model(0.0), wide])
    with pytest.raises(ValueError, match="number 1 with 1 instead of 2"):
        model_soup([[np.zeros(2), np.zeros(1)], [np.zeros(2)]])
    with pytest.raises(ValueError, match="at least one"):
        model_soup([])
    with pytest.raises(ValueError, match="needs `validation`"):
        model_soup([soup_model(0.0)], greedy=True)
