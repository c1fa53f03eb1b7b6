"""Pretext tasks: their labels, what they teach, saving, replicas, and what comes after."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.functional import nt_xent
from tfmeta.learners import PrototypicalNetwork
from tfmeta.transfer import FineTune, RotationPrediction, SimCLR


def backbone(*, norm=True):
    layers = [keras.layers.Flatten(), keras.layers.Dense(16, activation="relu")]
    layers += [keras.layers.BatchNormalization(momentum=0.5)] * norm
    return keras.Sequential([keras.Input((6, 6, 1)), *layers])


def pictures(n=32):
    """Bars, brighter towards the top, each of its own width and place."""
    draws = np.random.default_rng(0)
    slope = np.linspace(1.0, 0.1, 6)[:, None]
    bars = draws.uniform(0.2, 1.0, (n, 1, 6)) * (draws.random((n, 1, 6)) < 0.5)
    return (255 * slope * bars)[..., None].astype("uint8")


def vectors(n=64):
    draws = np.random.default_rng(0)
    return 3.0 * draws.standard_normal((n, 4)).astype("float32")


def simclr(**options):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(3)]
    noise = keras.layers.GaussianNoise(0.2, seed=3)
    return SimCLR(keras.Sequential(layers), **{"projection": 6, "augment": noise, **options})


def rotation(**options):
    keras.utils.set_random_seed(0)
    return RotationPrediction(backbone(**options))


def compiled(model, optimizer=None):
    model.compile(optimizer or keras.optimizers.Adam(0.01))
    return model


def fit(model, x, **options):
    options = {"batch_size": 16, "shuffle": False, "verbose": 0, **options}
    return model.fit(x, **options).history


@pytest.mark.parametrize(
    "form", ["array", *(pytest.param(f, marks=pytest.mark.slow) for f in ("dataset", "labelled"))]
)
def test_rotations_are_learned(form):
    model, x = compiled(rotation()), pictures()
    data, options = x, {"epochs": 15}
    if form != "array":
        data = tf.data.Dataset.from_tensor_slices(x if form == "dataset" else (x, np.zeros(32)))
        data, options = data.batch(16), {"epochs": 15, "batch_size": None}
    history = fit(model, data, **options)
    assert set(history) == {"accuracy", "loss"}
    assert history["accuracy"][-1] > 0.8 > 0.5 > history["accuracy"][0]
    logs = model.evaluate(x, verbose=0, return_dict=True)
    assert logs["accuracy"] > 0.8


def test_the_labels_of_rotations():
    model = rotation()
    model.backbone.call = lambda x, **options: tf.reshape(x, [-1, 36])[:, :16]
    x = pictures(2).astype("float32")
    seen = []
    model.head.call = lambda features, **options: seen.append(features) or features[:, :4]
    _, labels = model.pretext(x, training=False)
    np.testing.assert_array_equal(labels, [0, 0, 1, 1, 2, 2, 3, 3])
    turned = np.concatenate([np.rot90(x, k, axes=(1, 2)) for k in range(4)])
    np.testing.assert_array_equal(seen[0], turned.reshape(8, 36)[:, :16])


def test_views_are_learned_to_be_told():
    model, x = compiled(simclr()), vectors()
    history = fit(model, x, epochs=20, batch_size=32)
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    assert history["accuracy"][-1] > history["accuracy"][0]
    assert model.evaluate(x, verbose=0, return_dict=True)["accuracy"] > 0.3


def test_the_loss_of_views_is_nt_xent():
    model, x = compiled(simclr(augment=keras.layers.Identity(), temperature=0.2)), vectors(8)
    z = model.projection(model.backbone(x))
    loss = model.evaluate(x, batch_size=8, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(float(nt_xent(z, z, temperature=0.2)), rel=1e-5)


def test_views_of_pictures_differ_and_keep_their_scale():
    model = SimCLR(backbone())
    x = tf.cast(pictures(4), "float32") / 255.0
    first, second = model._view(x, 0), model._view(x, 1)
    assert float(tf.reduce_max(tf.abs(first - second))) > 0.05
    assert float(tf.reduce_min(first)) > -1e-5
    assert float(tf.reduce_max(first)) < 1.0 + 1e-5
    raw = keras.Sequential(
        [
            keras.Input((6, 6, 1), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ]
    )
    view = SimCLR(raw)._view(tf.constant(pictures(4)), 0)
    assert view.dtype == tf.uint8 and int(tf.reduce_max(view)) > 100


def test_views_differ_from_step_to_step_in_a_graph():
    model = compiled(SimCLR(backbone()), keras.optimizers.SGD(0.0))
    x = pictures(8)
    losses = [fit(model, x, batch_size=8)["loss"][0] for _ in range(2)]
    assert losses[0] != pytest.approx(losses[1], rel=1e-4)


def test_views_are_a_function_of_the_seed():
    x = tf.cast(pictures(4), "float32")
    views = [SimCLR(backbone(), seed=seed)._view(x, 0) for seed in (5, 5, 6)]
    np.testing.assert_array_equal(views[0], views[1])
    assert float(tf.reduce_max(tf.abs(views[0] - views[2]))) > 10.0


def test_the_model_gives_features():
    model, x = rotation(), pictures(3)
    np.testing.assert_allclose(model(x), model.backbone(x / np.float32(255)), rtol=1e-5)
    assert model.predict(x, verbose=0).shape == (3, 16)


def test_moving_statistics_move_in_training_alone():
    model, x = compiled(rotation()), pictures()
    norm = model.backbone.layers[-1]
    model.evaluate(x, verbose=0)
    np.testing.assert_array_equal(norm.moving_mean, 0.0)
    fit(model, x)
    assert np.abs(norm.moving_mean).max() > 0.01


@pytest.mark.parametrize(
    "kind", ["simclr", *(pytest.param(k, marks=pytest.mark.slow) for k in ("rotation", "pictures"))]
)
def test_the_round_trip_goes_on(kind, tmp_path):
    x = vectors() if kind == "simclr" else pictures()
    model = {"simclr": simclr, "rotation": rotation, "pictures": lambda: SimCLR(backbone())}[kind]()
    compiled(model)
    fit(model, x)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    histories = [fit(m, x, epochs=2) for m in (model, loaded)]
    assert histories[0] == histories[1]
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def copies(variable):
    return [np.asarray(v) for v in getattr(variable.value, "values", [variable.value])]


def test_two_replicas_are_one_for_rotations(two_replicas):
    one = compiled(rotation(norm=False), "sgd")
    with two_replicas.scope():
        two = compiled(rotation(norm=False), "sgd")
    histories = [fit(m, pictures(), epochs=2) for m in (one, two)]
    np.testing.assert_allclose(histories[1]["loss"], histories[0]["loss"], rtol=1e-5)
    np.testing.assert_allclose(histories[1]["accuracy"], histories[0]["accuracy"], rtol=1e-5)
    for a, b in zip(two.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_two_replicas_share_moving_statistics(two_replicas):
    with two_replicas.scope():
        two = compiled(rotation(), "sgd")
    fit(two, pictures())
    for statistic in two.backbone.layers[-1].non_trainable_variables:
        first, second = copies(statistic)
        np.testing.assert_array_equal(first, second)
        assert np.abs(first - (0.0 if "mean" in statistic.name else 1.0)).max() > 0.01


def test_on_two_replicas_negatives_are_those_of_the_replica(two_replicas):
    x = vectors(8)
    with two_replicas.scope():
        two = compiled(simclr(augment=keras.layers.Identity()), keras.optimizers.SGD(0.5))
    one = simclr(augment=keras.layers.Identity())
    with tf.GradientTape() as tape:
        halves = [one.projection(one.backbone(half)) for half in (x[:4], x[4:])]
        loss = 0.5 * tf.add_n([nt_xent(z, z) for z in halves])
    gradients = tape.gradient(loss, [v.value for v in one.trainable_variables])
    history = fit(two, x, batch_size=8)
    assert history["loss"][0] == pytest.approx(float(loss), rel=1e-5)
    for found, start, gradient in zip(
        two.trainable_variables, one.trainable_variables, gradients, strict=True
    ):
        np.testing.assert_allclose(found, start - 0.5 * gradient, rtol=1e-4, atol=1e-6)


def test_the_backbone_goes_under_heads_and_learners():
    model, x = compiled(rotation()), pictures()
    fit(model, x)
    tuned = FineTune(model.backbone, 2)
    tuned.compile("adam")
    tuned.fit(x, np.arange(32) % 2, verbose=0)
    learner = PrototypicalNetwork(model.backbone)
    state = learner.adapt(tf.constant(x[:4]), tf.constant([0, 0, 1, 1]))
    assert learner.predict_query(state, tf.constant(x[4:7])).shape == (3, 2)


def test_a_loss_that_is_not_finite_leaves_the_weights():
    model, x = compiled(simclr()), vectors(8)
    before = [v.numpy() for v in model.trainable_variables]
    x[3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        fit(model, x)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, old)


def test_bad_input():
    wide = keras.Sequential([keras.Input((6, 4, 1)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="square pictures"):
        RotationPrediction(wide)
    flat = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="square pictures"):
        RotationPrediction(flat)
    with pytest.raises(ValueError, match="`augment` must be a Keras layer"):
        SimCLR(flat)
    with pytest.raises(ValueError, match="temperature=0"):
        simclr(temperature=0)
    with pytest.raises(ValueError, match="built"):
        SimCLR(keras.Sequential([keras.layers.Dense(3)]))
    maps = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"features \[batch, features\]"):
        RotationPrediction(maps)
