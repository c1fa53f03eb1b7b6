"""MetaLSTM: its update, its derivatives, and the statistics of training and test."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta.inner_loop import GradientDescent, MetaLSTMRule
from tfmeta.learners import MAML, MetaLSTM

N_TASKS, N_WAY = 3, 2
DRAWS = np.random.default_rng(0)
INPUTS = {
    "support_x": DRAWS.standard_normal((N_TASKS, 4, 3)).astype("float32"),
    "support_y": np.tile([0, 0, 1, 1], (N_TASKS, 1)),
    "query_x": DRAWS.standard_normal((N_TASKS, 6, 3)).astype("float32"),
}
QUERY_Y = np.tile([0, 1], (N_TASKS, 3))


def network():
    keras.utils.set_random_seed(0)
    norm = keras.layers.BatchNormalization()
    layers = [keras.layers.Dense(4), norm, keras.layers.Activation("softplus")]
    return keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(N_WAY)])


def meta_lstm(**options):
    rule = MetaLSTMRule(0.3, forget=0.9, units=3)
    learner = MetaLSTM(network(), update_rule=rule, inner_steps=2, **options)
    draws = np.random.default_rng(1)
    for v in rule.trainable_variables:
        v.assign_add(draws.normal(0.0, 0.3, v.shape))
    return learner


def train(learner):
    learner.compile(keras.optimizers.SGD(0.2), metrics=["accuracy"])
    logs = [learner.train_on_batch(INPUTS, QUERY_Y, return_dict=True) for _ in range(2)]
    return list(logs[1].values()), learner.get_weights()


@pytest.mark.parametrize("statistics", ["support", "running"])
@pytest.mark.parametrize("training_statistics", [None, "transductive"])
def test_second_derivatives(statistics, training_statistics):
    learner = meta_lstm(order=2, statistics=statistics, training_statistics=training_statistics)
    # The tasks of the check are traced one by one.
    task = {k: v[:1] for k, v in INPUTS.items()}
    assert tfmeta.gradcheck(learner, task, QUERY_Y[:1]) < 1e-6


def test_first_order_drops_what_the_paper_drops():
    learner = meta_lstm(order=1)
    x, y = tf.constant(INPUTS["support_x"][0]), tf.constant(INPUTS["support_y"][0])
    start = [tf.convert_to_tensor(v) for v in learner.network.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(start)
        path = tfmeta.inner_loop.inner_loop(
            lambda weights, step: learner._support_loss(weights, x, y),
            start,
            rule=ForgetOnly(),
            inner_steps=2,
            order=1,
        )
        end = tf.reduce_sum(path[-1][0])
    # The slope of the cell state alone: both forget gates.
    np.testing.assert_allclose(tape.gradient(end, start[0]), np.full((3, 4), 0.25), rtol=1e-6)


class ForgetOnly(MetaLSTMRule):
    """Gates that are constants."""

    def update(self, step, weights, gradients, state, *, loss, context=()):
        return [0.5 * w - loss * g for w, g in zip(weights, gradients, strict=True)], state


def test_engines_train_alike():
    outcomes = [train(meta_lstm(engine=engine)) for engine in ("mapped", "vectorized")]
    for mapped, vectorized in zip(*outcomes, strict=True):
        for a, b in zip(mapped, vectorized, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_inner_steps_computed_again_train_alike():
    (logs, weights), (other_logs, others) = (
        train(meta_lstm()),
        train(meta_lstm(checkpoint_inner=True)),
    )
    np.testing.assert_allclose(logs, other_logs, rtol=1e-5)
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_queries_are_normalised_by_their_batch_in_training_only():
    learner = meta_lstm()
    state = learner.adapt(INPUTS["support_x"][0], INPUTS["support_y"][0])
    query_x = tf.constant(INPUTS["query_x"][0])
    for training in (False, True):
        all_of_them, _ = learner.query_pass(state, query_x, training=training)
        half, _ = learner.query_pass(state, query_x[:3], training=training)
        assert np.allclose(all_of_them[:3], half, atol=1e-5) == (not training)
    same = meta_lstm(training_statistics=None)
    outputs = [same.query_pass(state, query_x, training=t)[0] for t in (False, True)]
    np.testing.assert_allclose(*outputs, rtol=1e-6)


def test_it_learns_the_rule_and_the_initial_weights():
    learner = meta_lstm()
    before = learner.get_weights()
    _, after = train(learner)
    pairs = zip(learner.weights, before, after, strict=True)
    stayed = [v.path.split("/")[-1] for v, *values in pairs if v.trainable and np.allclose(*values)]
    # Before a normalisation by the batch it has no gradient.
    assert stayed == ["bias"]
    assert len(learner.update_rule.trainable_variables) == 7


def test_training_learns_to_update():
    keras.utils.set_random_seed(0)
    learner = MetaLSTM(network(), update_rule=0.01, inner_steps=2)
    learner.compile(keras.optimizers.Adam(0.02))
    inputs = {k: np.tile(v, (4, *[1] * (v.ndim - 1))) for k, v in INPUTS.items()}
    # The labels are those of the first number: nothing is learned without looking at the support.
    for part in ("support", "query"):
        inputs[f"{part}_x"][..., 0] += 2.0 * (np.arange(inputs[f"{part}_x"].shape[1]) % 2)
    flip = np.arange(12)[:, None] % 2
    inputs["support_y"] = (np.arange(4)[None] % 2) ^ flip
    query_y = (np.arange(6)[None] % 2) ^ flip
    losses = learner.fit(inputs, query_y, batch_size=12, epochs=60, verbose=0).history["loss"]
    # Who does not look at the support cannot get below log(2).
    assert losses[-1] < 0.8 * np.log(2.0)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`update_rule` must be a.*MetaLSTMRule.*`MAML`"):
        MetaLSTM(network(), update_rule=GradientDescent(0.1))
    with pytest.raises(ValueError, match="`order` must be one of"):
        MetaLSTM(network(), order="anneal")
    with pytest.raises(ValueError, match="`training_statistics` must be one of"):
        MetaLSTM(network(), training_statistics="running")


def test_the_rule_serves_maml_too():
    learner = MAML(network(), update_rule=MetaLSTMRule(0.1), inner_steps=1, order=1)
    assert np.isfinite(train(learner)[0]).all()


def test_the_export_adapts_as_the_learner_does(tmp_path):
    learner = meta_lstm()
    path = tfmeta.export_learner(learner, tmp_path / "served")
    signatures = tf.saved_model.load(path).signatures
    given = {k: tf.constant(v[0]) for k, v in INPUTS.items()}
    given["support_y"] = tf.cast(given["support_y"], "int32")
    served = signatures["adapt_and_predict"](class_names=tf.constant(["a", "b"]), **given)
    wanted = learner.predict_query(
        learner.adapt(given["support_x"], given["support_y"]), given["query_x"]
    )
    np.testing.assert_allclose(served["logits"], wanted, rtol=1e-5, atol=1e-6)
