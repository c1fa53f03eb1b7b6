"""Learned optimizers: their unrolled loss against NumPy, training, saving, and their three uses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.inner_loop import Adam, GradientDescent, LSTMOptimizer, LSTMOptimizerRule
from tfmeta.learners import (
    MAML,
    LearnedOptimizer,
    NetworkTraining,
    Quadratics,
    optimization_curves,
    optimization_tasks,
)


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def made_rule(**options):
    rule = LSTMOptimizerRule(3, scale=0.5, **options)
    rule.create_weights()
    draws = np.random.default_rng(0)
    for v in rule.trainable_variables:
        v.assign(draws.normal(0.0, 0.7, v.shape))
    return rule


def numpy_step(rule, g, state):
    """The step of one layer after another, for every number in `g`."""
    log = np.log(np.maximum(np.abs(g), np.exp(-10.0))) / 10.0
    large = np.abs(g) >= np.exp(-10.0)
    x = np.stack([np.where(large, log, -1.0), np.where(large, np.sign(g), np.exp(10.0) * g)], -1)
    after = []
    for layer, (h, c) in zip(rule.lstms, state, strict=True):
        kernel, recurrent, bias = (layer[k].numpy() for k in ("kernel", "recurrent_kernel", "bias"))
        i, f, u, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(u)
        x = sigmoid(o) * np.tanh(c)
        after.append((x, c))
    return 0.5 * (x @ rule.step_kernel.numpy() + rule.step_bias.numpy())[:, 0], after


def test_the_rule_is_numpys():
    rule, draws = made_rule(), np.random.default_rng(1)
    w = [tf.constant(draws.standard_normal((2, 2)), "float32"), tf.constant([1.0])]
    state, wanted_state = rule.initial_state(w), [(np.zeros((5, 3)),) * 2] * 2
    flat = np.concatenate([np.ravel(x) for x in w])
    for step in range(2):
        g = [draws.standard_normal(x.shape).astype("float32") for x in w]
        w, state = rule.update(step, w, [tf.constant(x) for x in g], state)
        move, wanted_state = numpy_step(
            rule, np.concatenate([np.ravel(x) for x in g]), wanted_state
        )
        flat = flat + move
        np.testing.assert_allclose(np.concatenate([np.ravel(x) for x in w]), flat, rtol=1e-4)


def test_quadratics_are_as_their_formula_and_differ():
    family, numbers = Quadratics(3), tf.constant([5, 6], "int64")
    (w,), (matrix, target) = family.draw(numbers)
    losses = family.losses([w], (matrix, target), tf.constant(0))
    for task in range(2):
        residual = matrix[task].numpy() @ w[task].numpy() - target[task].numpy()
        np.testing.assert_allclose(losses[task], residual @ residual, rtol=1e-5)
    assert not np.allclose(losses[0], losses[1])


def softmax_problem():
    draws = np.random.default_rng(0)
    x = draws.standard_normal((40, 3)).astype("float32")
    return x, (x[:, 0] > 0).astype("int32")


def network():
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(2)]
    )


def test_network_losses_are_those_of_keras():
    x, y = softmax_problem()
    net = network()
    # Batches of one row, of data that are all alike: any draw gives the same loss.
    family = NetworkTraining(net, x[:1].repeat(5, 0), y[:1].repeat(5), batch_size=2)
    numbers = tf.constant([0, 1], "int64")
    weights, problem = family.draw(numbers)
    losses = family.losses(weights, problem, tf.constant(0))
    for task in range(2):
        net.set_weights([w[task] for w in weights])
        wanted = keras.losses.sparse_categorical_crossentropy(y[:1], net(x[:1]), from_logits=True)
        np.testing.assert_allclose(losses[task], wanted[0], rtol=1e-5)


def test_mini_batches_and_first_weights_depend_on_the_number_alone():
    family = NetworkTraining(network(), *softmax_problem(), batch_size=4)
    both, one = tf.constant([3, 8], "int64"), tf.constant([8], "int64")
    for a, b in zip(family.draw(both)[0], family.draw(one)[0], strict=True):
        np.testing.assert_array_equal(a[1:], b)
    losses = [family.losses(*family.draw(both), tf.constant(k)).numpy() for k in (0, 0, 1)]
    np.testing.assert_array_equal(losses[0], losses[1])
    assert (losses[0] != losses[2]).all()


def test_the_gradient_of_the_unrolled_loss():
    family, numbers = Quadratics(2), tf.constant([0, 1, 2], "int64")
    learned = LearnedOptimizer(family, update_rule=made_rule(n_layers=1), horizon=4, unroll=4)
    weights, problem = family.draw(numbers)
    state = learned.update_rule.initial_state(weights)
    losses, gradients, end, _ = learned._segment(problem, weights, state, tf.constant(0))
    curve = learned(numbers)
    np.testing.assert_allclose(losses, tf.reduce_mean(curve, axis=0)[1:], rtol=1e-5)
    np.testing.assert_allclose(family.losses(end, problem, 0), curve[:, -1], rtol=1e-5)
    # The step bias reaches the loss directly only: what the LSTM reads counts as given. Its
    # first derivative in the last step alone is `scale * mean_T sum dL/dw`.
    last = LearnedOptimizer(family, update_rule=learned.update_rule, horizon=1, unroll=1)
    _, (*_, of_bias), end, _ = last._segment(problem, weights, state, tf.constant(0))
    with tf.GradientTape() as tape:
        tape.watch(end)
        loss = tf.reduce_mean(family.losses(end, problem, 0))
    slope = tf.reduce_sum(tape.gradient(loss, end)[0])
    np.testing.assert_allclose(of_bias, [0.5 * slope], rtol=1e-5)
    assert len(gradients) == 5


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    learned = LearnedOptimizer(
        Quadratics(2), update_rule=LSTMOptimizerRule(6), horizon=10, unroll=5
    )
    learned.compile(keras.optimizers.Adam(0.02))
    data = optimization_tasks(16)
    history = learned.fit(data, steps_per_epoch=15, epochs=3, verbose=0).history
    return learned, history


def test_it_lowers_the_loss_of_unseen_tasks(trained):
    learned, history = trained
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    unseen = optimization_tasks(32, seed=1, limit=32)
    logs = learned.evaluate(unseen, return_dict=True, verbose=0)
    curves = learned.predict(unseen, verbose=0)
    np.testing.assert_allclose(logs["loss"], curves[:, 1:].mean(), rtol=1e-5)
    np.testing.assert_allclose(logs["final_loss"], curves[:, -1].mean(), rtol=1e-5)
    assert logs["final_loss"] < 0.5 * curves[:, 0].mean()
    numbers = np.concatenate(list(unseen))
    other = optimization_curves(learned.update_rule, learned.optimizee, numbers, steps=10)
    np.testing.assert_allclose(other, curves, rtol=1e-3, atol=1e-4)


def test_it_is_saved_and_goes_on(trained, tmp_path):
    learned, _ = trained
    learned.save(tmp_path / "learned.keras")
    loaded = keras.saving.load_model(tmp_path / "learned.keras")
    with pytest.raises(ValueError, match="optimizee=None"):
        loaded.fit(optimization_tasks(2))
    loaded.optimizee = learned.optimizee
    numbers = tf.range(4, dtype="int64")
    np.testing.assert_array_equal(loaded(numbers), learned(numbers))
    for a, b in zip(loaded.optimizer.variables, learned.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_serves_as_an_inner_rule():
    rule = made_rule()
    before = [v.numpy() for v in rule.weights]
    learner = MAML(network(), update_rule=rule, inner_steps=1, order=1)
    for a, b in zip(rule.weights, before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(learner.trainable_variables) == 4 + len(rule.weights)
    rule.trainable = False
    assert len(learner.trainable_variables) == 4


def test_it_serves_as_a_keras_optimizer(tmp_path):
    rule = made_rule()
    x, y = softmax_problem()
    model = network()
    model.compile(LSTMOptimizer(rule, learning_rate=0.1), loss="mse")
    start = model.get_weights()
    data = {"x": x, "y": y[:, None].repeat(2, 1).astype("float32")}
    model.fit(**data, batch_size=40, epochs=1, verbose=0)
    other = network()
    other.set_weights(start)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.mean_squared_error(data["y"], other(x)))
    gradients = tape.gradient(loss, [v.value for v in other.trainable_variables])
    w = [tf.constant(v) for v in start]
    moved, _ = rule.update(0, w, gradients, rule.initial_state(w))
    for got, a, b in zip(model.get_weights(), start, moved, strict=True):
        np.testing.assert_allclose(got, a + 0.1 * (b - a), rtol=1e-4, atol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for m in (model, loaded):
        m.fit(**data, batch_size=40, epochs=2, shuffle=False, verbose=0)
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_curves_of_fixed_rules():
    family, numbers = Quadratics(2), [4, 7]
    curves = optimization_curves(Adam(0.1), family, numbers, steps=3)
    (w,), problem = family.draw(tf.constant(numbers, "int64"))
    w, optimizer = keras.Variable(w), keras.optimizers.Adam(0.1, epsilon=1e-12)
    for step in range(4):
        with tf.GradientTape() as tape:
            losses = family.losses([w.value], problem, 0)
        np.testing.assert_allclose(curves[:, step], losses, rtol=1e-3)
        optimizer.apply([tape.gradient(losses, w.value)], [w])


def test_bad_arguments():
    with pytest.raises(ValueError, match="`horizon` must be a multiple of `unroll`"):
        LearnedOptimizer(Quadratics(), horizon=10, unroll=4)
    with pytest.raises(ValueError, match="`rule` must be a"):
        LSTMOptimizer(GradientDescent(0.1))
    with pytest.raises(ValueError, match=r"of one length\. Received: 3 and 2"):
        NetworkTraining(network(), np.zeros((3, 3)), np.zeros(2))
    with pytest.raises(ValueError, match="`seed` must not be negative"):
        optimization_tasks(2, seed=-1)
    with pytest.raises(ValueError, match="`units` must be a positive integer"):
        LSTMOptimizerRule(0)


def test_a_loss_that_is_not_finite_stops_it():
    class Infinite(Quadratics):
        def losses(self, weights, problem, step):
            return np.inf * super().losses(weights, problem, step)

    learned = LearnedOptimizer(Infinite(2), horizon=2, unroll=2)
    learned.compile()
    with pytest.raises(ValueError, match="not finite"):
        learned.fit(optimization_tasks(2, limit=2), verbose=0)


def test_two_replicas_equal_one(two_replicas):
    def run(make_optimizer):
        keras.utils.set_random_seed(0)
        rule = LSTMOptimizerRule(3)
        learned = LearnedOptimizer(Quadratics(2), update_rule=rule, horizon=2, unroll=1)
        learned.compile(make_optimizer())
        learned.fit(optimization_tasks(4, limit=8), verbose=0)
        return learned.get_weights()

    one = run(lambda: keras.optimizers.SGD(0.05))
    with two_replicas.scope():
        two = run(lambda: keras.optimizers.SGD(0.05))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
