"""Ensembles of classifiers, given or taken as snapshots of one training."""

import keras
import numpy as np
import pytest

from tfmeta.transfer import Ensemble, FineTune, SnapshotEnsemble


def data(n=24):
    draws = np.random.default_rng(0)
    y = np.arange(n) % 3
    return (draws.standard_normal((n, 4)) + 2.0 * y[:, None]).astype("float32"), y


def make(seed=0, n_classes=3, **head):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(5, activation="relu"), keras.layers.Dense(n_classes, **head)]
    return keras.Sequential([keras.Input((4,)), *layers])


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def test_outputs_are_logs_of_the_mean_probabilities(tmp_path):
    (x, y), models = data(), [make(seed) for seed in range(3)]
    ensemble = Ensemble(models, weights=[2.0, 1.0, 1.0])
    ensemble.compile(loss=LOGITS, metrics=["accuracy"])
    each = np.stack([softmax(model.predict(x, verbose=0)) for model in models])
    wanted = np.einsum("m,mnk->nk", [0.5, 0.25, 0.25], each)
    np.testing.assert_allclose(np.exp(ensemble.predict(x, verbose=0)), wanted, rtol=1e-5)
    loss, accuracy = ensemble.evaluate(x, y, verbose=0)
    assert loss == pytest.approx(-np.log(wanted[np.arange(24), y]).mean(), rel=1e-5)
    assert accuracy == pytest.approx(np.mean(wanted.argmax(axis=1) == y))
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.saving.load_model(tmp_path / "ensemble.keras")
    np.testing.assert_array_equal(loaded(x), ensemble(x))
    assert loaded.member_weights == ensemble.member_weights


def test_members_may_give_probabilities():
    x, _ = data()
    models = [make(seed, activation="softmax") for seed in range(2)]
    found = Ensemble(models, from_logits=False)(x)
    wanted = np.mean([model(x) for model in models], axis=0)
    np.testing.assert_allclose(np.exp(found), wanted, rtol=1e-5)


def test_members_may_be_fine_tuned_backbones(tmp_path):
    x, _ = data()
    models = []
    for seed in range(2):
        keras.utils.set_random_seed(seed)
        backbone = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
        models.append(FineTune(backbone, 3))
    ensemble = Ensemble(models)
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.saving.load_model(tmp_path / "ensemble.keras")
    np.testing.assert_array_equal(loaded(x), ensemble(x))


def test_bad_ensembles():
    with pytest.raises(ValueError, match="at least one built"):
        Ensemble([])
    with pytest.raises(ValueError, match="at least one built"):
        Ensemble([keras.Sequential([keras.layers.Dense(3)])])
    for weights in ([1.0], [1.0, -1.0], [0.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="one number for each of 2 models"):
            Ensemble([make(), make()], weights=weights)
    with pytest.raises(ValueError, match="weights='support'"):
        Ensemble([make()], weights="support")
    with pytest.raises(ValueError, match="same classes"):
        Ensemble([make(), make(n_classes=4)])(data()[0])


class Rates(keras.callbacks.Callback):
    """The learning rate of every step."""

    def on_train_begin(self, logs=None):
        self.rates, self.ends = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))

    def on_epoch_end(self, epoch, logs=None):
        self.ends.append(self.model.get_weights())


@pytest.mark.parametrize("model", ["sequential", "fine_tune"])
def test_snapshots_of_a_cyclic_rate(model):
    model = make() if model == "sequential" else FineTune(make(), 3)
    model.compile(keras.optimizers.SGD(0.2), LOGITS)
    snapshots, rates = SnapshotEnsemble(2), Rates()
    x, y = data()
    model.fit(x, y, batch_size=8, epochs=4, verbose=0, callbacks=[snapshots, rates])
    schedule = keras.optimizers.schedules.CosineDecayRestarts(0.2, 6, t_mul=1.0)
    wanted = [float(schedule(step)) for step in range(12)]
    np.testing.assert_allclose(rates.rates, wanted, rtol=1e-5)
    for found, end in zip(snapshots.snapshots, rates.ends[1::2], strict=True):
        for a, b in zip(found, end, strict=True):
            np.testing.assert_array_equal(a, b)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.2)
    ensemble = snapshots.ensemble()
    last = snapshots.ensemble(last=1)
    np.testing.assert_allclose(softmax(model(x)), softmax(last(x)), rtol=1e-5)
    each = [softmax(m(x).numpy()) for m in ensemble.models]
    np.testing.assert_allclose(np.exp(ensemble(x)), np.mean(each, axis=0), rtol=1e-5)


def test_bad_snapshots():
    model = make()
    model.compile(keras.optimizers.SGD(0.2), LOGITS)
    with pytest.raises(ValueError, match="epochs=3, n_cycles=2"):
        model.fit(*data(), epochs=3, verbose=0, callbacks=[SnapshotEnsemble(2)])
    schedule = keras.optimizers.schedules.CosineDecay(0.2, 10)
    model.compile(keras.optimizers.SGD(schedule), LOGITS)
    with pytest.raises(ValueError, match="the schedule CosineDecay"):
        model.fit(*data(), epochs=2, verbose=0, callbacks=[SnapshotEnsemble(2)])
    with pytest.raises(ValueError, match="no snapshot"):
        SnapshotEnsemble(2).ensemble()
