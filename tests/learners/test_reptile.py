"""Reptile by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.inner_loop import Adam, MetaSGD
from tfmeta.learners import Reptile
from tfmeta.learners.reptile import batch_rows


def line(weight=0.0):
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    network.set_weights([np.array([[weight]])])
    return network


def tasks(*targets):
    x = np.ones((len(targets), 1, 1), "float32")
    y = np.reshape(targets, (-1, 1, 1)).astype("float32")
    return {"support_x": x, "support_y": y, "query_x": x}, y


def test_the_weight_moves_towards_the_mean_of_where_the_tasks_end():
    # At the rate 0.25 a step halves the distance to the target: from 0 to 3/4 of it after two.
    learner = Reptile(line(), update_rule=0.25, inner_steps=2)
    learner.compile(keras.optimizers.SGD(0.5))
    learner.train_on_batch(*tasks(4.0, 8.0))
    np.testing.assert_allclose(learner.get_weights()[0], [[0.5 * 0.75 * 6.0]], rtol=1e-6)


def test_what_is_not_adapted_stays():
    network = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(2, name="body"), keras.layers.Dense(1, name="head")]
    )
    learner = Reptile(network, adapt="head", inner_steps=1)
    learner.compile(keras.optimizers.SGD(1.0))
    before = learner.get_weights()
    learner.train_on_batch(*tasks(4.0))
    after = learner.get_weights()
    assert [np.array_equal(a, b) for a, b in zip(after, before, strict=True)] == [1, 1, 0, 0]


@pytest.mark.parametrize("n, batch_size", [(6, 2), (5, 2), (4, 9), (3, 3)])
def test_batches_take_every_row_once_a_pass(n, batch_size):
    rows = np.concatenate([batch_rows(tf.constant(n), batch_size, step) for step in range(n)])
    for start in range(0, len(rows) - n + 1, n):
        assert sorted(rows[start : start + n]) == list(range(n))


def test_batches_lead_where_full_steps_on_them_lead():
    draws = np.random.default_rng(0)
    x, y = draws.random((6, 1), "float32"), draws.random((6, 1), "float32")
    learner = Reptile(line(1.0), update_rule=0.1, inner_steps=4, inner_batch_size=2)
    weight = 1.0
    for step in range(4):
        rows = batch_rows(tf.constant(6), 2, step).numpy()
        weight -= 0.1 * np.mean(2 * x[rows] * (weight * x[rows] - y[rows]))
    np.testing.assert_allclose(learner.adapt(x, y).weights[0], [[weight]], rtol=1e-5)


def test_sinusoid_like_tasks_are_learned_with_adam_inside():
    learner = Reptile(line(), update_rule=Adam(0.1, beta_1=0.0), inner_steps=5)
    learner.compile(keras.optimizers.SGD(0.5))
    history = learner.fit(*tasks(2.0, 3.0), epochs=20, verbose=0).history["loss"]
    assert history[-1] < 0.2 * history[0]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"update_rule": MetaSGD(0.1)}, "no meta-gradient for an update rule that learns"),
        ({"inner_batch_size": 0}, "`inner_batch_size` must be a positive integer"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Reptile(line(), **options)
