"""SNAIL: causal, as far back as it says, the same in parts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.learners.streams import read_stream
from tfmeta.models.memory import SNAIL
from tfmeta.models.memory.snail import CausalAttention, TemporalConvolutions

DRAWS = np.random.default_rng(0)


def changed_steps(layer, n_steps, place):
    """The steps whose outputs a change of one input changes."""
    stream = DRAWS.standard_normal((1, n_steps, 3)).astype("float32")
    other = stream.copy()
    other[0, place] += 1.0
    difference = np.abs(layer(other) - layer(stream)).max(axis=(0, 2))
    return [step for step in range(n_steps) if difference[step] > 1e-7]


def test_convolutions_see_as_many_steps_as_they_say():
    assert changed_steps(TemporalConvolutions(4, 5), 9, 2) == [2, 3, 4, 5]


def test_a_block_is_a_dilated_causal_convolution():
    layer = TemporalConvolutions(4, 5)
    stream = DRAWS.standard_normal((2, 7, 3)).astype("float32")
    got = layer(stream)
    after_first, block = got[..., :8], layer.blocks[1]
    convolution = keras.layers.Conv1D(10, 2, dilation_rate=2, padding="causal")
    convolution.build(after_first.shape)
    kernel, bias = block.get_weights()
    convolution.set_weights([kernel.reshape(2, 8, 10), bias])
    values, gates = np.split(convolution(after_first), 2, axis=-1)
    wanted = np.tanh(values) / (1.0 + np.exp(-gates))
    np.testing.assert_allclose(got[..., 8:], wanted, rtol=1e-4, atol=1e-5)


def test_attention_sees_all_steps_before():
    assert changed_steps(CausalAttention(4, 5), 6, 2) == [2, 3, 4, 5]


def test_attention_by_hand():
    layer = CausalAttention(1, 1)
    layer.build((None, None, 1))
    # Queries and keys are zero: the mean of what came so far.
    layer.projection.set_weights([np.array([[0.0, 0.0, 2.0]]), np.zeros(3)])
    got = layer(tf.constant([[[1.0], [3.0], [5.0]]]))
    np.testing.assert_allclose(got, [[[1, 2], [3, 4], [5, 6]]], rtol=1e-6)


def test_a_stream_may_be_read_in_parts():
    core = SNAIL(8, filters=4, key_size=4, value_size=3, n_blocks=1)
    stream = tf.constant(DRAWS.standard_normal((2, 7, 3)), "float32")
    core.build((None, None, 3))
    outputs, _ = read_stream(core, stream)
    assert outputs.shape == (2, 7, core.output_size)
    first, state = read_stream(core, stream[:, :5])
    second, _ = read_stream(core, stream[:, 5:], state)
    np.testing.assert_allclose(tf.concat([first, second], 1), outputs, rtol=1e-4, atol=1e-5)


def test_a_config_makes_the_same_network():
    core = SNAIL(8, filters=4, n_blocks=1, dtype="float64")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(core))
    assert copy.get_config() == core.get_config() and copy.variable_dtype == "float64"


def test_bad_sizes():
    with pytest.raises(ValueError, match="`length` must be a positive integer"):
        SNAIL(0)
