"""Allocation, temporal links and the DNC cell beside NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.learners.streams import read_stream, read_with_cell
from tfmeta.models.memory import DNC, dynamic_allocation, temporal_links

DRAWS = np.random.default_rng(0)


def built(**options):
    cell = DNC(4, **{"n_slots": 5, "slot_width": 3, "n_heads": 2, "dtype": "float64", **options})
    cell.build((None, 6))
    return cell


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_usage():
    read = np.array([[[1.0, 0.0, 0.5], [0.0, 0.0, 0.5]]])
    psi = dynamic_allocation.retention(tf.constant([[0.5, 1.0]], "float64"), tf.constant(read))
    np.testing.assert_allclose(psi, [[0.5, 1.0, 0.75 * 0.5]])
    usage = dynamic_allocation.next_usage(
        np.array([[0.5, 0.0, 1.0]]), np.array([[0.5, 0.2, 0.0]]), psi
    )
    np.testing.assert_allclose(usage, [[0.75 * 0.5, 0.2, 0.375]])


def test_allocation_goes_to_the_least_used_slot_first():
    got = dynamic_allocation.allocation_weights(tf.constant([[0.8, 0.1, 0.5]], "float64"))
    np.testing.assert_allclose(got, [[0.2 * 0.1 * 0.5, 0.9, 0.5 * 0.1]], rtol=1e-4)
    # All in use: nothing is left to allocate. None in use: the first.
    full = dynamic_allocation.allocation_weights(tf.ones([1, 3], "float64"))
    np.testing.assert_allclose(full, np.zeros((1, 3)), atol=1e-9)
    empty = dynamic_allocation.allocation_weights(tf.zeros([1, 3], "float64"))
    np.testing.assert_allclose(empty, [[1, 0, 0]], atol=1e-5)


def test_write_weights():
    new, like = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    got = dynamic_allocation.gated_write_weights(np.array([[0.5]]), np.array([[0.75]]), new, like)
    np.testing.assert_allclose(got, [[0.375, 0.125]])


def test_links_of_three_writes_lead_forwards_and_backwards():
    links, precedence = tf.zeros([1, 3, 3], "float64"), tf.zeros([1, 3], "float64")
    for slot in (2, 0, 1):
        write = tf.one_hot([slot], 3, dtype="float64")
        links = temporal_links.next_links(links, precedence, write)
        precedence = temporal_links.next_precedence(precedence, write)
    np.testing.assert_array_equal(links, [[[0, 0, 1], [1, 0, 0], [0, 0, 0]]])
    np.testing.assert_array_equal(precedence, [[0, 1, 0]])
    read = tf.one_hot([[0]], 3, dtype="float64")
    forward, backward = temporal_links.directional_weights(links, read)
    np.testing.assert_array_equal(forward, [[[0, 1, 0]]])
    np.testing.assert_array_equal(backward, [[[0, 0, 1]]])


def test_links_of_soft_writes():
    links, precedence, write = (DRAWS.random(shape) for shape in ((2, 4, 4), (2, 4), (2, 4)))
    got = temporal_links.next_links(*map(tf.constant, (links, precedence, write)))
    for b in range(2):
        for i in range(4):
            for j in range(4):
                wanted = (1 - write[b, i] - write[b, j]) * links[b, i, j]
                wanted += write[b, i] * precedence[b, j]
                np.testing.assert_allclose(got[b, i, j], 0 if i == j else wanted)


def test_read_modes():
    parts = [np.full((1, 1, 2), value) for value in (1.0, 10.0, 100.0)]
    got = temporal_links.mixed_read_weights(np.array([[[0.2, 0.3, 0.5]]]), *parts)
    np.testing.assert_allclose(got, [[[53.2, 53.2]]])


def numpy_dnc(cell, stream):
    """One stream `[steps, features]`, slot by slot from the equations of the paper."""
    kernel, recurrent, bias, interface, interface_bias = (np.asarray(w) for w in cell.weights)
    heads, width, slots, u = cell.n_heads, cell.slot_width, cell.n_slots, cell.units
    h, c, memory, read = np.zeros(u), np.zeros(u), np.zeros((slots, width)), np.zeros(heads * width)
    w_read, w_write, usage = np.zeros((heads, slots)), np.zeros(slots), np.zeros(slots)
    links, precedence, outputs = np.zeros((slots, slots)), np.zeros(slots), []

    def content(keys, strengths):
        norms = np.linalg.norm(memory, axis=1) * np.linalg.norm(keys, axis=1)[:, None]
        cosines = np.divide(keys @ memory.T, norms, out=np.zeros_like(norms), where=norms > 0)
        return softmax(strengths[:, None] * cosines)

    for x in stream:
        z = x @ kernel + np.concatenate([h, read]) @ recurrent + bias
        i, f, o = (sigmoid(z[k * u : (k + 1) * u]) for k in range(3))
        c = f * c + i * np.tanh(z[3 * u :])
        h = o * np.tanh(c)
        parts = np.split(h @ interface + interface_bias, np.cumsum(cell.interface_sizes)[:-1])
        read_keys = parts[0].reshape(heads, width)
        read_strengths, write_strength = (1 + np.log1p(np.exp(parts[k])) for k in (1, 3))
        erase, free, allocate, write = (sigmoid(parts[k]) for k in (4, 6, 7, 8))
        modes = softmax(parts[9].reshape(heads, 3))
        psi = np.prod(1 - free[:, None] * w_read, axis=0)
        usage = (usage + w_write - usage * w_write) * psi
        order, left, allocation = np.argsort(usage, kind="stable"), 1.0, np.zeros(slots)
        for slot in order:
            allocation[slot] = (1 - usage[slot]) * left
            left *= usage[slot]
        like = content(parts[2][None], write_strength)[0]
        w_write = write * (allocate * allocation + (1 - allocate) * like)
        memory = memory * (1 - np.outer(w_write, erase)) + np.outer(w_write, parts[5])
        links = (1 - w_write[:, None] - w_write) * links + np.outer(w_write, precedence)
        np.fill_diagonal(links, 0)
        precedence = (1 - w_write.sum()) * precedence + w_write
        backward, forward = w_read @ links, w_read @ links.T
        found = content(read_keys, read_strengths)
        w_read = modes[:, :1] * backward + modes[:, 1:2] * found + modes[:, 2:] * forward
        read = (w_read @ memory).reshape(-1)
        outputs.append(np.concatenate([h, read]))
    return np.array(outputs)


def test_the_cell_is_that_of_the_equations():
    cell = built()
    stream = np.random.default_rng(0).standard_normal((2, 9, 6))
    outputs, _ = read_stream(cell, tf.constant(stream))
    for got, x in zip(outputs, stream, strict=True):
        # Usages are kept away from zero by a millionth.
        np.testing.assert_allclose(got, numpy_dnc(cell, x), rtol=0, atol=1e-5)


def test_the_layer_of_keras_gives_the_same():
    cell = built()
    stream = tf.constant(DRAWS.standard_normal((2, 4, 6)))
    layer = keras.layers.RNN(cell, return_sequences=True, dtype="float64")
    np.testing.assert_allclose(layer(stream), read_stream(cell, stream)[0], rtol=1e-10)


def test_traces_of_a_stream():
    _, _, trace = read_with_cell(built(), tf.ones([2, 4, 6], "float64"), traced=True)
    assert trace.read_weights.shape == (2, 4, 2, 5) and trace.write_weights.shape == (2, 4, 1, 5)


def test_a_config_makes_the_same_cell():
    cell = built()
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(cell))
    assert copy.get_config() == cell.get_config()


def test_more_heads_than_slots():
    with pytest.raises(ValueError, match="Received: n_heads=6"):
        built(n_heads=6)
