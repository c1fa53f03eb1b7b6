"""Stateless calls: nothing is assigned, and random layers draw anew."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.inner_loop import episode_draws, stateless_call

X = tf.constant(np.random.default_rng(0).standard_normal((5, 3)), tf.float32)


def norm_network():
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.BatchNormalization(momentum=0.5), keras.layers.Dense(2)]
    )


def test_values_stand_in_for_variables_and_nothing_is_assigned():
    network = norm_network()
    kernel = network.layers[-1].kernel
    moving = [network.layers[0].moving_mean, network.layers[0].moving_variance]
    before = network.get_weights()
    outputs, (mean, variance) = stateless_call(
        network, X, values=[(kernel, tf.zeros([3, 2]))], training=True, read=moving
    )
    np.testing.assert_array_equal(outputs, np.zeros((5, 2)))
    np.testing.assert_allclose(mean, 0.5 * X.numpy().mean(0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(variance, 0.5 + 0.5 * X.numpy().var(0), rtol=1e-5)
    for value, kept in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, kept)


def test_what_the_call_does_not_assign_is_read_as_it_is():
    network = norm_network()
    _, (mean,) = stateless_call(network, X, read=[network.layers[0].moving_mean])
    np.testing.assert_array_equal(mean, np.zeros(3))


def test_derivatives_flow_into_values_and_through_what_is_read():
    network = norm_network()
    moving = network.layers[0].moving_mean
    with tf.GradientTape() as tape:
        tape.watch(X)
        _, (mean,) = stateless_call(network, X, training=True, read=[moving])
        total = tf.reduce_sum(mean)
    np.testing.assert_allclose(tape.gradient(total, X), np.full((5, 3), 0.5 / 5), rtol=1e-6)


def mask_of(network):
    outputs, _ = stateless_call(network, tf.ones([1, 200]), training=True)
    return tuple((outputs.numpy()[0] > 0).tolist())


def masks(seed, n_passes=1):
    """Which of many ones a dropout layer lets through, pass after pass of one episode."""
    layer = keras.layers.Dropout(0.5, seed=3)
    network = keras.Sequential([keras.Input((200,)), layer])
    with episode_draws(tf.constant(seed)):
        return [mask_of(network) for _ in range(n_passes)]


def test_dropout_draws_anew_for_every_pass_and_episode():
    drawn = [*masks(0, 3), *masks(1, 3), *masks(2**40, 3)]
    assert len(set(drawn)) == 9


def test_dropout_repeats_for_the_same_episode():
    assert masks(5, 2) == masks(5, 2)


def test_without_the_scope_a_stateless_call_repeats_itself():
    network = keras.Sequential([keras.Input((200,)), keras.layers.Dropout(0.5, seed=3)])
    assert mask_of(network) == mask_of(network)


def test_scopes_nest_and_end():
    outer, inner = masks(1), masks(2)
    with episode_draws(tf.constant(1)):
        assert masks(2) == inner
        network = keras.Sequential([keras.Input((200,)), keras.layers.Dropout(0.5, seed=3)])
        assert [mask_of(network)] == outer
