"""The MANN cell beside NumPy, and as a Keras RNN cell."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.learners.streams import read_stream, read_with_cell
from tfmeta.models.memory import MANN

SIZES = {"n_slots": 5, "slot_width": 3, "n_heads": 2}


def built(**options):
    cell = MANN(4, **{**SIZES, "dtype": "float64", **options})
    cell.build((None, 6))
    return cell


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def numpy_mann(cell, stream):
    """One stream `[steps, features]`, word for word from the equations."""
    kernel, recurrent, bias, interface, interface_bias = (np.asarray(w) for w in cell.weights)
    heads, width, slots, u = cell.n_heads, cell.slot_width, cell.n_slots, cell.units
    h, c, memory = np.zeros(u), np.zeros(u), np.zeros((slots, width))
    read_w, usage, read = np.zeros((heads, slots)), np.zeros(slots), np.zeros(heads * width)
    keys_before, outputs = np.zeros((heads, width)), []
    for x in stream:
        z = x @ kernel + np.concatenate([h, read]) @ recurrent + bias
        i, f, o = (sigmoid(z[k * u : (k + 1) * u]) for k in range(3))
        c = f * c + i * np.tanh(z[3 * u :])
        h = o * np.tanh(c)
        emitted = h @ interface + interface_bias
        keys = np.tanh(emitted[: heads * width]).reshape(heads, width)
        rest = emitted[heads * width :]
        vectors = keys
        if cell.write != "key":
            vectors = np.tanh(rest[: heads * width]).reshape(heads, width)
            vectors = vectors + keys_before if cell.write == "bound" else vectors
            rest = rest[heads * width :]
        gates, strengths = sigmoid(rest[:heads]), np.ones(heads)
        if cell.strengths:
            strengths = 1 + np.log1p(np.exp(rest[heads:]))
        least = np.argsort(usage, kind="stable")[:heads]
        write_w = gates[:, None] * read_w
        write_w[np.arange(heads), least] += 1 - gates
        before, memory = memory, memory.copy()
        memory[least] = 0
        memory = memory + write_w.T @ vectors
        seen = before if cell.write == "key" else memory
        norms = np.linalg.norm(seen, axis=1) * np.linalg.norm(keys, axis=1)[:, None]
        cosines = np.divide(keys @ seen.T, norms, out=np.zeros_like(norms), where=norms > 0)
        read_w = softmax(strengths[:, None] * cosines)
        read = (read_w @ seen).reshape(-1)
        keys_before = keys
        usage = cell.usage_decay * usage + read_w.sum(0) + write_w.sum(0)
        outputs.append(np.concatenate([h, read]))
    return np.array(outputs)


@pytest.mark.parametrize("options", [{}, {"write": "vector"}, {"write": "key", "strengths": False}])
def test_the_cell_is_that_of_the_equations(options):
    cell = built(**options)
    stream = np.random.default_rng(0).standard_normal((2, 9, 6))
    outputs, _ = read_stream(cell, tf.constant(stream))
    for got, x in zip(outputs, stream, strict=True):
        np.testing.assert_allclose(got, numpy_mann(cell, x), rtol=1e-6, atol=1e-9)


def test_the_layer_of_keras_gives_the_same():
    cell = built()
    stream = tf.constant(np.random.default_rng(1).standard_normal((2, 4, 6)))
    outputs, state = read_stream(cell, stream)
    layer = keras.layers.RNN(cell, return_sequences=True, return_state=True, dtype="float64")
    of_keras, *state_of_keras = layer(stream)
    np.testing.assert_allclose(of_keras, outputs, rtol=1e-10)
    for got, wanted in zip(state_of_keras, state, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)


def test_a_stream_may_be_read_in_parts_and_alone():
    cell = built()
    stream = tf.constant(np.random.default_rng(2).standard_normal((3, 8, 6)))
    outputs, _ = read_stream(cell, stream)
    first, state = read_stream(cell, stream[:, :5])
    second, _ = read_stream(cell, stream[:, 5:], state)
    np.testing.assert_allclose(tf.concat([first, second], 1), outputs, rtol=1e-10)
    alone, _ = read_stream(cell, stream[1:2])
    np.testing.assert_allclose(alone[0], outputs[1], rtol=1e-10)


def test_one_trace_reads_streams_of_every_length():
    cell = built()

    @tf.function(input_signature=[tf.TensorSpec([None, None, 6], "float64")], autograph=False)
    def read(stream):
        return read_stream(cell, stream)[0]

    shapes = [read(tf.zeros([2, steps, 6], "float64")).shape for steps in (1, 4, 9)]
    assert shapes == [(2, steps, 10) for steps in (1, 4, 9)]
    assert read.experimental_get_tracing_count() == 1


def test_traces_of_a_stream():
    cell = built()
    stream = tf.constant(np.random.default_rng(3).standard_normal((2, 4, 6)))
    _, _, trace = read_with_cell(cell, stream, traced=True)
    assert trace.read_weights.shape == trace.write_weights.shape == (2, 4, 2, 5)
    assert trace.gates.shape == (2, 4, 12)
    np.testing.assert_allclose(tf.reduce_sum(trace.read_weights, -1), np.ones((2, 4, 2)))
    # Nothing has been read yet: the first writes go to the first slots, as far as gates let them.
    assert np.count_nonzero(trace.write_weights[0, 0]) == 2


def test_a_new_cell_reads_sharply_and_writes_to_unused_slots():
    # Keys and vectors from zero; gates and strengths of both heads.
    start = built().interface_bias.numpy()
    np.testing.assert_array_equal(start, [0.0] * 12 + [-2.0] * 2 + [9.0] * 2)
    assert built(write="key", strengths=False).interface_bias.shape == (8,)


def test_a_config_makes_the_same_cell():
    cell = built(write="key", strengths=False, usage_decay=0.5)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(cell))
    assert copy.get_config() == cell.get_config()
    assert (copy.n_slots, copy.write, copy.usage_decay) == (5, "key", 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_slots": 0}, "`n_slots` must be a positive integer. Received: n_slots=0"),
        ({"n_heads": 6}, r"at most `n_slots` \(5\)"),
        ({"usage_decay": 1.0}, "usage_decay=1.0"),
        ({"write": "both"}, "write='both'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        MANN(4, **{**SIZES, **options})
