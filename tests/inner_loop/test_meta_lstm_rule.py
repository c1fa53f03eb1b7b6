"""The LSTM update against NumPy, and what the inner loop gives to rules that read the loss."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta import inner_loop
from tfmeta.functional import gated_update, lstm_step, preprocess_gradient
from tfmeta.inner_loop import ClippedGradients, MetaLSTMRule, UpdateRule


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def numpy_lstm(x, h, c, kernel, recurrent_kernel, bias):
    i, f, g, o = np.split(x @ kernel + h @ recurrent_kernel + bias, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def numpy_preprocess(g, p=10.0):
    large = np.abs(g) >= np.exp(-p)
    log = np.log(np.where(large, np.abs(g), 1.0)) / p
    return np.stack([np.where(large, log, -1.0), np.where(large, np.sign(g), np.exp(p) * g)], -1)


def variables():
    return [keras.Variable(np.zeros(shape), dtype="float64") for shape in ((2, 3), (3,))]


def made_rule(n_context=0):
    rule = MetaLSTMRule(0.2, forget=0.9, units=4, n_context=n_context, dtype="float64")
    rule.create_weights(variables(), inner_steps=2)
    draws = np.random.default_rng(0)
    for v in rule.trainable_variables:
        v.assign(draws.normal(0.0, 0.7, v.shape))
    return rule


def numpy_update(rule, w, g, loss, state, context=()):
    weights = {v.name: v.numpy() for v in rule.trainable_variables}
    h, c, i, f = state
    of_loss = np.broadcast_to(numpy_preprocess(loss), (len(g), 2))
    x = np.concatenate([numpy_preprocess(g), of_loss, *context], axis=1)
    h, c = numpy_lstm(x, h, c, *(weights[n] for n in ("kernel", "recurrent_kernel", "bias")))
    gates = []
    for name, before in (("input", i), ("forget", f)):
        seen = np.concatenate([h, w[:, None], before], axis=1)
        gates.append(sigmoid(seen @ weights[f"{name}_kernel"] + weights[f"{name}_bias"]))
    i, f = gates
    return f[:, 0] * w - i[:, 0] * g, (h, c, i, f)


def test_the_equations():
    draws = np.random.default_rng(1)
    shapes = {"kernel": (3, 8), "recurrent_kernel": (2, 8), "bias": (8,)}
    weights = {name: draws.standard_normal(shape) for name, shape in shapes.items()}
    x, h, c = (draws.standard_normal((5, width)) for width in (3, 2, 2))
    got, wanted = lstm_step(x, h, c, **weights), numpy_lstm(x, h, c, *weights.values())
    np.testing.assert_allclose(got, wanted, rtol=1e-7)
    cell = keras.layers.LSTMCell(2, dtype="float64")
    cell.build((None, 3))
    cell.set_weights(list(weights.values()))
    out, (_, carry) = cell(x, [h, c])
    np.testing.assert_allclose(lstm_step(x, h, c, **weights)[0], out, rtol=1e-12)
    np.testing.assert_allclose(lstm_step(x, h, c, **weights)[1], carry, rtol=1e-12)
    g = np.array([2.0, -1e-3, np.exp(-10.0) * 0.5, 0.0])
    np.testing.assert_allclose(preprocess_gradient(tf.constant(g)), numpy_preprocess(g))
    assert float(gated_update(3.0, 2.0, 0.5, 0.25)) == 1.0


def test_derivatives_of_the_preprocessing_are_finite_at_zero():
    g = tf.Variable([0.0, 1e-30, 1.0], dtype="float64")
    with tf.GradientTape() as tape:
        y = preprocess_gradient(g)
    wanted = [np.exp(10.0), np.exp(10.0), 0.1]
    np.testing.assert_allclose(tape.gradient(y, g), wanted, rtol=1e-12)


@pytest.mark.parametrize("n_context", [0, 2])
def test_two_steps_are_numpys(n_context):
    rule, draws = made_rule(n_context), np.random.default_rng(2)
    w = [draws.standard_normal(shape) for shape in ((2, 3), (3,))]
    flat = np.concatenate([np.ravel(x) for x in w])
    state = rule.initial_state([tf.constant(x) for x in w])
    wanted_state = tuple(np.zeros((9, width)) for width in (4, 4, 1, 1))
    w = [tf.constant(x) for x in w]
    for step in range(2):
        g = [draws.standard_normal(x.shape) for x in w]
        loss = draws.uniform()
        context = [draws.standard_normal((9, n_context))] if n_context else []
        flat_g = np.concatenate([np.ravel(x) for x in g])
        flat, wanted_state = numpy_update(rule, flat, flat_g, loss, wanted_state, context)
        w, state = rule.update(
            step, w, [tf.constant(x) for x in g], state, loss=tf.constant(loss), context=context
        )
        got = np.concatenate([np.ravel(x) for x in w])
        np.testing.assert_allclose(got, flat, rtol=1e-6)
        for a, b in zip(state, wanted_state, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def test_at_the_start_it_is_nearly_gradient_descent():
    rule = MetaLSTMRule(0.3, forget=0.99)
    rule.create_weights([keras.Variable(np.zeros(3, "float32"))], inner_steps=1)
    w, g = [tf.constant([1.0, -2.0, 0.5])], [tf.constant([0.1, -0.4, 2.0])]
    moved, _ = rule.update(0, w, g, rule.initial_state(w), loss=tf.constant(1.0))
    np.testing.assert_allclose(moved[0], 0.99 * w[0] - 0.3 * g[0], atol=0.02)


def test_a_config_makes_the_same_rule():
    rule = MetaLSTMRule(0.3, forget=0.99, units=7, p=5.0, n_context=2)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(rule))
    names = ("learning_rate", "forget", "units", "p", "n_context")
    assert [getattr(copy, n) for n in names] == [0.3, 0.99, 7, 5.0, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 1.0}, r"`learning_rate` is a gate.*=1\.0"),
        ({"forget": 0.0}, r"`forget` is a gate.*=0\.0"),
        ({"units": 0}, "`units` must be an integer of at least 1"),
        ({"n_context": -1}, "`n_context` must be an integer of at least 0"),
    ],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        MetaLSTMRule(**options)


class Reader(UpdateRule):
    """Gradient descent at the rate of the loss, and what it was given."""

    reads_loss = True

    def update(self, step, weights, gradients, state, *, loss, context=()):
        rate = loss + sum(context)
        return [w - rate * g for w, g in zip(weights, gradients, strict=True)], state


def path_and_slope(rule, *, order, checkpoint, context=False):
    def loss(weights, step):
        value = weights[0] ** 2
        return (value, 3.0 * weights[0]) if context else value

    @tf.function(autograph=False)
    def run(w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            path = inner_loop.inner_loop(
                loss, [w], rule=rule, inner_steps=2, order=order, checkpoint=checkpoint
            )
        return path[-1][0], tape.gradient(path[-1][0], w)

    return [float(x) for x in run(tf.constant(0.5, "float64"))]


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("context", [False, True])
def test_the_loop_gives_the_loss_and_its_context(checkpoint, context):
    def step(w):  # w - (w^2 + 3 w) 2 w, and its derivative
        added = 3.0 if context else 0.0
        return w - 2 * w**3 - 2 * added * w**2, 1 - 6 * w**2 - 4 * added * w

    w1, slope1 = step(0.5)
    w2, slope2 = step(w1)
    got = path_and_slope(Reader(), order=2, checkpoint=checkpoint, context=context)
    np.testing.assert_allclose(got, [w2, slope1 * slope2], rtol=1e-12)
    # At first order the rate and the gradient are constants: the slope is one.
    got = path_and_slope(Reader(), order=1, checkpoint=checkpoint, context=context)
    np.testing.assert_allclose(got, [w2, 1.0], rtol=1e-12)


def test_a_clipped_rule_reads_the_loss_too():
    clipped = ClippedGradients(Reader(), max_norm=100.0)
    assert path_and_slope(clipped, order=2, checkpoint=False) == path_and_slope(
        Reader(), order=2, checkpoint=False
    )


def test_coordinates_and_back():
    tensors = [tf.reshape(tf.range(6.0), [2, 3]), tf.constant(7.0), tf.constant([8.0])]
    vector = inner_loop.to_coordinates(tensors)
    np.testing.assert_array_equal(vector, [0, 1, 2, 3, 4, 5, 7, 8])
    for a, b in zip(inner_loop.from_coordinates(vector, tensors), tensors, strict=True):
        np.testing.assert_array_equal(a, b)
