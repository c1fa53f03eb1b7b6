"""Domain adaptation: discrepancies by hand, and learners on a shift that they must undo."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.functional.discrepancy import covariance_distance, maximum_mean_discrepancy
from tfmeta.layers import use_exact_layers
from tfmeta.layers.gradient_reversal import reversal_strength, reverse_gradient
from tfmeta.transfer import DAN, DANN, DeepCORAL, domain_pairs, pseudo_labels, recalibrate


def test_discrepancies_by_hand():
    draws = np.random.default_rng(0)
    s, t = draws.standard_normal((7, 3)), 1.0 + draws.standard_normal((5, 3))
    wanted = np.sum((np.cov(s.T) - np.cov(t.T)) ** 2) / (4 * 9)
    np.testing.assert_allclose(covariance_distance(s, t), wanted, rtol=1e-10)
    both = np.concatenate([s, t])
    squares = np.sum((both[:, None] - both[None]) ** 2, axis=-1)
    kernel = np.exp(-squares / (0.5 * squares.mean()))
    wanted = kernel[:7, :7].mean() + kernel[7:, 7:].mean() - 2 * kernel[:7, 7:].mean()
    found = maximum_mean_discrepancy(s, t, bandwidths=(0.5,))
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    assert float(maximum_mean_discrepancy(s, s)) < 1e-12 < float(found)


def test_the_reversal_and_its_schedule():
    x = tf.constant([1.0, -2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(tf.square(reverse_gradient(x, tf.constant(0.25))))
    np.testing.assert_allclose(y, 5.0)
    np.testing.assert_allclose(tape.gradient(y, x), -0.25 * 2 * x)
    np.testing.assert_allclose(reversal_strength(tf.constant(1.0)), np.tanh(5.0), rtol=1e-6)


def domains(n=200):
    """Two classes along one axis, along which the domain moves too; a second axis tells it."""
    draws = np.random.default_rng(0)
    y = np.arange(n) % 2
    source = draws.standard_normal((n, 4)) * 0.5
    target = draws.standard_normal((n, 4)) * 0.5
    source[:, 0] += 2.0 * y - 1.0
    target[:, 0] += 2.0 * y - 1.0
    target[:, :2] += 2.0
    return source.astype("float32"), y, target.astype("float32"), y


def make(learner=None, **options):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(16, activation="relu"), keras.layers.Dense(4)]
    backbone = keras.Sequential([keras.Input((4,)), *layers])
    model = learner(backbone, 2, **options)
    model.compile(keras.optimizers.Adam(0.01), metrics=["accuracy"])
    return model


def target_accuracy(learner, **options):
    source_x, source_y, target_x, target_y = domains()
    model = make(learner, **options)
    pairs = domain_pairs(source_x, source_y, target_x, batch_size=64)
    history = model.fit(pairs, steps_per_epoch=100, epochs=3, verbose=0).history
    assert history["accuracy"][-1] > 0.9
    logs = model.evaluate(target_x, target_y, verbose=0, return_dict=True)
    assert set(logs) == {"accuracy", "loss"}
    return logs["accuracy"], history


@pytest.mark.parametrize(
    ("learner", "options"),
    [
        (DAN, {"weight": 2.0}),
        pytest.param(DeepCORAL, {"weight": 0.0}, marks=pytest.mark.slow),
        pytest.param(DANN, {}, marks=pytest.mark.slow),
    ],
)
def test_features_that_forget_the_domain_serve_the_target(learner, options):
    alone, _ = target_accuracy(DAN, weight=0.0)
    assert alone < 0.75
    if learner is DeepCORAL:
        # The domains of this test have one covariance: only that the loss falls is asked.
        _, history = target_accuracy(learner, weight=5.0)
        _, free = target_accuracy(learner, weight=0.0)
        assert history["discrepancy"][-1] < 0.5 * free["discrepancy"][-1]
        return
    adapted, _ = target_accuracy(learner, **options, **({"steps": 150} if learner is DANN else {}))
    assert adapted > alone + 0.1


def test_statistics_of_the_target_domain():
    source_x, source_y, _, _ = domains()
    target_x, target_y = 3.0 * source_x + 5.0, source_y
    keras.utils.set_random_seed(0)
    layers = [keras.layers.BatchNormalization(momentum=0.5), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(
        keras.optimizers.Adam(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(source_x, source_y, epochs=10, verbose=0)
    before = model.evaluate(target_x, target_y, verbose=0)[1]
    use_exact_layers(model)
    recalibrate(model, [target_x])
    after = model.evaluate(target_x, target_y, verbose=0)[1]
    assert before < 0.7 and after > 0.9


def test_pseudo_labels_are_the_confident_ones():
    logits = np.array([[4.0, 0.0], [0.1, 0.0], [0.0, 3.0]], "float32")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Identity()])
    x, y = pseudo_labels(model, logits, threshold=0.9)
    np.testing.assert_array_equal(x, logits[[0, 2]])
    np.testing.assert_array_equal(y, [0, 1])
    with pytest.raises(ValueError, match="threshold=1"):
        pseudo_labels(model, logits, threshold=1.5)


@pytest.mark.parametrize(
    "learner", [*(pytest.param(k, marks=pytest.mark.slow) for k in (DAN, DeepCORAL)), DANN]
)
def test_the_round_trip_goes_on(learner, tmp_path):
    source_x, source_y, target_x, _ = domains()
    model = make(learner)
    pairs = domain_pairs(source_x, source_y, target_x, batch_size=16)
    pairs = tf.data.Dataset.from_tensors(next(iter(pairs))).repeat()
    model.fit(pairs, steps_per_epoch=3, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(target_x), model(target_x))
    histories = [m.fit(pairs, steps_per_epoch=3, verbose=0).history for m in (model, loaded)]
    assert histories[0] == histories[1]


def test_two_replicas_are_one(two_replicas):
    source_x, source_y, target_x, _ = domains(16)
    pairs = domain_pairs(source_x, source_y, target_x, batch_size=16)
    pairs = tf.data.Dataset.from_tensors(next(iter(pairs))).repeat()

    def fitted():
        keras.utils.set_random_seed(0)
        # The domain loss is a mean over examples; the other discrepancies are of whole batches.
        model = DANN(keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)]), 2, steps=3)
        model.compile("sgd", metrics=["accuracy"])
        return model

    one = fitted()
    with two_replicas.scope():
        two = fitted()
    for model in (one, two):
        model.fit(pairs, steps_per_epoch=3, verbose=0)
    for a, b in zip(two.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_bad_input():
    source_x, source_y, target_x, _ = domains(8)
    with pytest.raises(ValueError, match="8 of the source and 0 of the target"):
        domain_pairs(source_x, source_y, target_x[:0])
    with pytest.raises(ValueError, match="7 labels for 8 examples"):
        domain_pairs(source_x, source_y[1:], target_x)
    with pytest.raises(ValueError, match="one shape"):
        domain_pairs(source_x, source_y, target_x[:, :3])
    with pytest.raises(ValueError, match="domain_pairs"):
        make(DAN).fit(source_x, source_y, verbose=0)
    with pytest.raises(ValueError, match="weight=-1"):
        make(DAN, weight=-1.0)
