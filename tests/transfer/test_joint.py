"""Joint training on source and target: losses by hand, the policy's gradient, wrong labels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.functional import auroc
from tfmeta.transfer import JointTransfer, joint_batches
from tfmeta.transfer.source_policy import policy_view, with_mean_one

FEATURES, CLASSES = 4, 3


def domain(n, shift=0.0, seed=0):
    """Three classes around three points, moved by a shift."""
    draws = np.random.default_rng(seed)
    y = np.arange(n) % CLASSES
    centres = 3.0 * np.eye(CLASSES, FEATURES)
    x = centres[y] + 0.5 * draws.standard_normal((n, FEATURES)) + shift
    return x.astype("float32"), y


def with_wrong_labels(y, share=0.4, seed=0):
    """Labels of which a share is moved to another class, and which ones are still right."""
    draws = np.random.default_rng(seed)
    is_wrong = draws.permutation(len(y)) < share * len(y)
    return np.where(is_wrong, (y + draws.integers(1, CLASSES, len(y))) % CLASSES, y), ~is_wrong


def make(
    policy="uniform", *, norm=False, dtype="float32", optimizer=None, compiled=True, **options
):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((FEATURES,), dtype=dtype), keras.layers.Dense(8, dtype=dtype)]
    if norm:
        layers.append(keras.layers.BatchNormalization(dtype=dtype))
    layers.append(keras.layers.Activation("tanh", dtype=dtype))
    head = keras.layers.Dense(CLASSES, dtype=dtype)
    model = JointTransfer(keras.Sequential(layers), head, policy=policy, dtype=dtype, **options)
    if compiled:
        model.compile(optimizer or keras.optimizers.SGD(0.1), metrics=["accuracy"])
    return model


def batches(batch_size=12, n=24, labels=None):
    source, target, validation = domain(n), domain(12, 0.5, seed=1), domain(9, 0.5, seed=2)
    source = source if labels is None else (source[0], labels)
    return joint_batches(source, target, validation, batch_size=batch_size)


def one_batch(**options):
    return next(iter(batches(**options)))


def repeated(batch):
    return tf.data.Dataset.from_tensors(batch).repeat()


@pytest.mark.parametrize(("policy", "weight"), [("uniform", 1.0), (0.25, 0.25), (0.0, 0.0)])
def test_a_fixed_policy_adds_the_weighted_source_loss(policy, weight):
    model, (inputs, y) = make(policy), one_batch()
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    target, source = (
        float(entropy(labels, model(inputs[f"{name}_x"])))
        for name, labels in (("target", y), ("source", inputs["source_y"]))
    )
    history = model.fit(repeated((inputs, y)), steps_per_epoch=1, verbose=0).history
    assert set(history) == {"loss", "accuracy"}
    np.testing.assert_allclose(history["loss"][0], target + weight * source, rtol=1e-5)
    weights = model.source_weights(inputs["source_x"], inputs["source_y"], batch_size=5)
    np.testing.assert_allclose(weights, np.full(12, weight))


def test_domains_of_different_sizes_count_alike():
    model, (inputs, y) = make(), one_batch()
    few = {**inputs, "target_x": inputs["target_x"][:3]}
    losses = []
    for given, labels in ((inputs, y), (few, y[:3])):
        batch = model.joint_batch(given, labels)
        n = int(batch.n_target)
        outputs = model(batch.x)
        loss = model._joint_loss(batch, outputs, tf.ones([12]))
        entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        parts = [entropy(batch.y[a], outputs[a]) for a in (slice(0, n), slice(n, None))]
        np.testing.assert_allclose(loss, sum(parts), rtol=1e-6)
        losses.append(float(loss))
    assert losses[0] != losses[1]


@pytest.mark.parametrize("policy_inputs", [("loss",), ("loss", "label", "features")])
@pytest.mark.parametrize(
    ("adapt", "normalize"),
    [("all", True), pytest.param("all", False, marks=pytest.mark.slow), ("head", True)],
)
def test_the_gradient_of_the_policy_through_the_step(adapt, normalize, policy_inputs):
    model = make(
        "learned",
        norm=True,
        dtype="float64",
        compiled=False,
        inner_rate=0.5,
        policy_hidden=5,
        policy_inputs=policy_inputs,
        adapt=adapt,
        normalize=normalize,
    )
    inputs, y = one_batch()
    batch = model.joint_batch(inputs, y)
    assert batch.x.dtype == tf.float64
    n, features = batch.n_target, model._features(batch.x, True)
    seen = policy_view(policy_inputs, features[n:], model.head(features)[n:], batch.y[n:])
    variables = model.policy_network.trainable_variables
    with tf.GradientTape() as tape:
        loss = model.policy_loss(inputs, batch, seen)
    gradients = tape.gradient(loss, [v.value for v in variables])
    draws, step = np.random.default_rng(0), 1e-5
    start = [v.numpy() for v in variables]
    directions = [draws.standard_normal(v.shape) for v in start]
    found = sum(float(tf.reduce_sum(g * d)) for g, d in zip(gradients, directions, strict=True))
    losses = []
    for sign in (1.0, -1.0):
        for variable, value, direction in zip(variables, start, directions, strict=True):
            variable.assign(value + sign * step * direction)
        losses.append(float(model.policy_loss(inputs, batch, seen)))
    wanted = (losses[0] - losses[1]) / (2 * step)
    assert abs(wanted) > 1e-4
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_an_example_beside_others_of_no_weight_has_that_of_all():
    weights = with_mean_one(tf.constant([0.0, 0.2, 0.0, 0.0]))
    np.testing.assert_allclose(weights, [0.0, 4.0, 0.0, 0.0], rtol=1e-5)


def test_the_step_looked_ahead_is_that_of_the_model():
    """With one inner rate and plain SGD, a step of the model gives the loss that was foreseen."""
    model = make("learned", inner_rate=0.1, policy_optimizer=keras.optimizers.SGD(0.0))
    inputs, y = one_batch()
    foreseen = model.fit(repeated((inputs, y)), steps_per_epoch=1, verbose=0).history
    after = model.evaluate(inputs["validation_x"], inputs["validation_y"], verbose=0)[0]
    np.testing.assert_allclose(foreseen["policy_loss"][0], after, rtol=1e-4)


def test_wrong_labels_lose_their_weight():
    x, y = domain(300)
    noisy, is_clean = with_wrong_labels(y)
    model = make(
        "learned",
        optimizer=keras.optimizers.Adam(0.01),
        policy_optimizer=keras.optimizers.Adam(0.03),
        policy_hidden=20,
    )
    history = model.fit(
        batches(30, n=300, labels=noisy), steps_per_epoch=60, epochs=2, verbose=0
    ).history
    weights = model.source_weights(x, noisy)
    assert weights.min() >= 0.0 and weights.max() <= 1.0
    assert float(auroc(weights[is_clean], weights[~is_clean])) > 0.95
    # Only their ratio means something, since the weights of a batch are divided by their mean.
    assert weights[is_clean].mean() > 10.0 * weights[~is_clean].mean()
    assert set(history) == {"loss", "accuracy", "policy_loss", "source_weight"}
    logs = model.evaluate(*domain(30, 0.5, seed=3), verbose=0, return_dict=True)
    assert set(logs) == {"loss", "accuracy"} and logs["accuracy"] > 0.9


@pytest.mark.parametrize("policy", [0.5, "learned"])
def test_a_loaded_model_goes_on_as_if_nothing_had_happened(policy, tmp_path):
    model = make(policy, optimizer=keras.optimizers.Adam(0.01), policy_inputs=("loss", "label"))
    data = repeated(one_batch())
    model.fit(data, steps_per_epoch=3, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    names = ("policy", "policy_inputs", "policy_hidden", "policy_optimizer", "normalize")
    names += ("inner_rate", "adapt")
    configs = [m.get_config() for m in (loaded, model)]
    assert [configs[0][name] for name in names] == [configs[1][name] for name in names]
    x, y = domain(6)
    np.testing.assert_array_equal(loaded(x), model(x))
    np.testing.assert_array_equal(loaded.source_weights(x, y), model.source_weights(x, y))
    histories = [m.fit(data, steps_per_epoch=3, verbose=0).history for m in (model, loaded)]
    assert histories[0] == histories[1]


@pytest.mark.parametrize("policy", [0.5, pytest.param("learned", marks=pytest.mark.slow)])
def test_two_replicas_are_one(policy, two_replicas):
    options = {"policy_optimizer": "sgd", "inner_rate": 0.5}
    one = make(policy, **options)
    with two_replicas.scope():
        two = make(policy, **options)
    x, y = domain(6)
    for model in (one, two):
        model.fit(repeated(one_batch()), steps_per_epoch=3, verbose=0)
    for a, b in zip(two.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(two.source_weights(x, y), one.source_weights(x, y), rtol=1e-5)


@pytest.mark.parametrize("part", ["source_x", "target_x", "validation_x"])
def test_a_loss_that_is_not_finite_leaves_all_weights(part):
    model, (inputs, y) = make("learned"), one_batch()
    bad = inputs[part].numpy()
    bad[0] = np.nan
    before = model.get_weights()
    with pytest.raises(ValueError, match="not finite"):
        model.fit(repeated(({**inputs, part: bad}, y)), steps_per_epoch=1, verbose=0)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_of_parts_of_any_size():
    inputs, y = one_batch(batch_size=40)
    assert {name: v.shape[0] for name, v in inputs.items()} == dict.fromkeys(inputs, 40)
    assert set(inputs) == {"target_x", "source_x", "source_y", "validation_x", "validation_y"}
    pairs = dict(zip(map(bytes, domain(12, 0.5, seed=1)[0]), domain(12)[1], strict=True))
    assert [pairs[bytes(x)] for x in inputs["target_x"].numpy()] == y.numpy().tolist()


def test_bad_batches():
    (x, y), (target_x, target_y) = domain(9), domain(6)
    with pytest.raises(ValueError, match="9 of the source and 0 of the target"):
        joint_batches((x, y), (target_x[:0], target_y[:0]))
    with pytest.raises(ValueError, match="the target without classes 2"):
        joint_batches((x, y), (target_x[:2], target_y[:2]))
    with pytest.raises(ValueError, match="the source without classes 5"):
        joint_batches((x, y), (target_x, np.array([0, 1, 2, 0, 1, 5])))
    with pytest.raises(ValueError, match="the validation without classes 1, 2"):
        joint_batches((x, y), (target_x, target_y), (x[:1], y[:1]))
    with pytest.raises(ValueError, match="8 labels for 9 examples"):
        joint_batches((x, y[1:]), (target_x, target_y))
    with pytest.raises(ValueError, match="one shape"):
        joint_batches((x[:, :2], y), (target_x, target_y))
    with pytest.raises(ValueError, match="uint8"):
        joint_batches((x.astype("uint8"), y), (target_x, target_y))
    fixed = joint_batches((x, y), (target_x, target_y), batch_size=4)
    with pytest.raises(ValueError, match=r"validation_x.*joint_batches"):
        make("learned").fit(fixed, steps_per_epoch=1, verbose=0)
    with pytest.raises(ValueError, match="joint_batches"):
        make().fit(x, y, verbose=0)


def test_bad_options():
    for policy in ("best", -1.0, True, float("nan")):
        with pytest.raises(ValueError, match="policy"):
            make(policy)
    for options in (
        {"policy_inputs": "loss"},
        {"policy_inputs": ("logits",)},
        {"policy_hidden": 0},
        {"inner_rate": 0.0},
        {"adapt": "body"},
    ):
        with pytest.raises(ValueError, match=next(iter(options))):
            make("learned", **options)
    with pytest.raises(ValueError, match="0 labels for 0 examples"):
        make().source_weights(np.zeros((0, FEATURES)), np.zeros(0))
