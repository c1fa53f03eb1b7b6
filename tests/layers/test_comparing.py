"""Layers that see several examples at once: full context, relations, attention among a set."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.layers import QueryContext, RelationModule, SetAttention, SupportContext

DRAWS = np.random.default_rng(0)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def lstm_step(x, hidden, carry, weights):
    """One step of a Keras LSTM cell: gates in the order input, forget, candidate, output."""
    kernel, recurrent, bias = weights
    i, f, c, o = np.split(x @ kernel + hidden @ recurrent + bias, 4, axis=-1)
    carry = sigmoid(f) * carry + sigmoid(i) * np.tanh(c)
    return sigmoid(o) * np.tanh(carry), carry


def weights_of(layer):
    return [np.asarray(w) for w in layer.get_weights()]


def build(layer, *shapes):
    """The built layer, its weights drawn anew so that no bias is zero."""
    layer.build(list(shapes) if len(shapes) > 1 else shapes[0])
    layer.set_weights([0.5 * DRAWS.standard_normal(w.shape) for w in layer.get_weights()])
    return layer


def test_the_support_context_is_a_bidirectional_lstm_in_an_order_of_its_own():
    layer = build(SupportContext(dtype="float64"), (None, 3))
    x = DRAWS.standard_normal((4, 3))
    order = np.argsort(x @ np.cos(np.arange(3.0)))
    wanted = x.copy()
    for lstm, sequence in ((layer.forward, order), (layer.backward, order[::-1])):
        hidden = carry = np.zeros(3)
        for i in sequence:
            hidden, carry = lstm_step(x[i], hidden, carry, weights_of(lstm))
            wanted[i] += hidden
    np.testing.assert_allclose(layer(x), wanted, rtol=1e-6)


def test_the_support_context_follows_the_order_that_it_is_given():
    layer = build(SupportContext(dtype="float64"), (None, 3))
    x, order = DRAWS.standard_normal((5, 3)), DRAWS.permutation(5)
    np.testing.assert_allclose(layer(x[order]), layer(x).numpy()[order], rtol=1e-10)


def test_the_query_context_is_an_lstm_that_reads_the_support():
    layer = build(QueryContext(3, dtype="float64"), (None, 2), (None, 2))
    x, support = DRAWS.standard_normal((1, 2)), DRAWS.standard_normal((4, 2))
    hidden, carry = x[0], np.zeros(2)
    for _ in range(3):
        attention = np.exp(support @ hidden)
        read = attention @ support / attention.sum()
        inputs = np.concatenate([x[0], read])
        hidden, carry = lstm_step(inputs, hidden, carry, weights_of(layer.cell))
        hidden = hidden + x[0]
    np.testing.assert_allclose(layer((x, support))[0], hidden, rtol=1e-6)


def test_a_query_in_context_does_not_see_other_queries():
    layer = build(QueryContext(2, dtype="float64"), (None, 2), (None, 2))
    x, support = DRAWS.standard_normal((3, 2)), DRAWS.standard_normal((4, 2))
    np.testing.assert_allclose(layer((x, support))[:1], layer((x[:1], support)), rtol=1e-10)


def test_context_has_second_derivatives():
    support_context = build(SupportContext(dtype="float64"), (None, 2))
    query_context = build(QueryContext(2, dtype="float64"), (None, 2), (None, 2))
    x, v = tf.constant(DRAWS.standard_normal((3, 2))), tf.constant(DRAWS.standard_normal((3, 2)))

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(tf.sin(query_context((x, support_context(x)))))
        return tape.gradient(y, x)

    with tf.GradientTape() as tape:
        tape.watch(x)
        slope = tf.reduce_sum(gradient(x) * v)
    h = 1e-5
    wanted = (gradient(x + h * v) - gradient(x - h * v)) / (2 * h)
    np.testing.assert_allclose(tape.gradient(slope, x), wanted, rtol=1e-5, atol=1e-8)


def test_relation_of_vectors_is_a_network_of_class_and_query_side_by_side():
    layer = build(RelationModule(filters=3, hidden=2, dtype="float64"), (None, 4), (None, 4))
    classes, queries = DRAWS.standard_normal((2, 4)), DRAWS.standard_normal((3, 4))
    (of_class, bias), (of_query,) = weights_of(layer.class_part), weights_of(layer.query_part)
    kernel = np.concatenate([of_class, of_query])
    pairs = np.array([[np.concatenate([c, q]) for c in classes] for q in queries])
    hidden = layer.pair_part((pairs @ kernel + bias).reshape(6, 3))
    np.testing.assert_allclose(layer((classes, queries)), np.reshape(hidden, (3, 2)), rtol=1e-6)


def test_relation_of_maps_is_a_convolution_of_class_and_query_side_by_side():
    layer = build(RelationModule(filters=3, dtype="float64"), *2 * [(None, 5, 5, 2)])
    classes, queries = DRAWS.standard_normal((2, 5, 5, 2)), DRAWS.standard_normal((3, 5, 5, 2))
    (of_class, bias), (of_query,) = weights_of(layer.class_part), weights_of(layer.query_part)
    kernel = np.concatenate([of_class, of_query], axis=2)
    pairs = np.array([[np.concatenate([c, q], axis=2) for c in classes] for q in queries])
    first = tf.nn.conv2d(pairs.reshape(6, 5, 5, 4), kernel, 1, "SAME") + bias
    scores = np.reshape(layer.pair_part(first), (3, 2))
    np.testing.assert_allclose(layer((classes, queries)), scores, rtol=1e-6)


@pytest.mark.parametrize(("size", "n_poolings"), [(1, 0), (2, 1), (3, 1), (5, 2), (7, 2)])
def test_relation_pools_while_the_map_is_big_enough(size, n_poolings):
    layer = RelationModule(filters=8)
    layer.build(2 * [(None, size, size, 4)])
    pools = [x for x in layer.pair_part.layers if isinstance(x, keras.layers.MaxPooling2D)]
    assert len(pools) == n_poolings


def test_the_score_of_a_pair_does_not_depend_on_other_pairs():
    layer = build(RelationModule(filters=4, dtype="float64"), *2 * [(None, 2, 2, 3)])
    classes, queries = DRAWS.standard_normal((3, 2, 2, 3)), DRAWS.standard_normal((2, 2, 2, 3))
    scores = layer((classes, queries))
    np.testing.assert_allclose(layer((classes[1:2], queries[:1])), scores[:1, 1:2], rtol=1e-10)


@pytest.mark.parametrize("heads", [1, 2])
def test_set_attention_is_what_the_equation_says(heads):
    layer = build(SetAttention(heads, dtype="float64"), (None, 3), (None,))
    x = DRAWS.standard_normal((4, 3))
    reads = []
    for h in range(heads):
        q, k, v = (
            x @ weights_of(dense)[0][:, 3 * h : 3 * h + 3]
            for dense in (layer.queries, layer.keys, layer.values)
        )
        scores = np.exp(q @ k.T / np.sqrt(3.0))
        reads.append(scores / scores.sum(axis=1, keepdims=True) @ v)
    kernel, bias = weights_of(layer.out)
    y = x + np.concatenate(reads, axis=1) @ kernel + bias
    y = (y - y.mean(axis=1, keepdims=True)) / np.sqrt(y.var(axis=1, keepdims=True) + 1e-5)
    gamma, beta = weights_of(layer.normalization)
    np.testing.assert_allclose(layer((x, np.zeros(4, "int32"))), y * gamma + beta, rtol=1e-6)


def test_set_attention_follows_a_permutation_and_keeps_groups_apart():
    layer = build(SetAttention(2, dtype="float64"), (None, 3), (None,))
    x, groups, order = DRAWS.standard_normal((5, 3)), np.array([0, 1, 0, 1, 1]), [3, 0, 4, 2, 1]
    y = layer((x, groups)).numpy()
    np.testing.assert_allclose(layer((x[order], groups[order])), y[order], rtol=1e-10)
    np.testing.assert_allclose(layer((x[groups == 1], np.zeros(3, "int32"))), y[groups == 1])


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (QueryContext(2), [(None, 2), (None, 2)]),
        (RelationModule(4, 3), [(None, 2), (None, 2)]),
        (SetAttention(2, 0.1), [(None, 2), (None,)]),
    ],
)
def test_layers_come_back_from_their_config(layer, shapes):
    copy = type(layer).from_config(layer.get_config())
    for each in (layer, copy):
        each.build(shapes)
    assert copy.get_config() == layer.get_config()
    copy.set_weights(layer.get_weights())
