"""Layers that cannot carry the task axis are named."""

import keras
import pytest
import tensorflow as tf

from tfmeta.layers.task_axis import call_with_task_axis, layers_without_rule

L = keras.layers
PICTURE, SERIES = (6, 5, 4), (5, 4)


def sequential(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers])


class Doubled(L.Dense):
    def call(self, inputs):
        return 2.0 * super().call(inputs)


class Centred(L.Layer):
    def call(self, inputs):
        return inputs - keras.ops.mean(inputs, axis=0, keepdims=True)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.dense = L.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


def attention():
    inputs = keras.Input((4, 3))
    return keras.Model(inputs, L.MultiHeadAttention(1, 2, name="attention")(inputs, inputs))


def operation(function):
    inputs = keras.Input((3,))
    return keras.Model(inputs, L.Dense(2)(function(inputs)))


WITHOUT_RULE = {
    "subclass": (lambda: sequential((4,), Doubled(2, name="mine")), ["mine (Doubled)"]),
    "unknown": (lambda: sequential((4,), Centred(name="centred")), ["centred (Centred)"]),
    "lambda": (lambda: sequential((4,), L.Lambda(tf.nn.relu, name="f")), ["f (Lambda)"]),
    "stock": (
        lambda: sequential((4,), L.BatchNormalization(name="bn")),
        ["bn (BatchNormalization)"],
    ),
    "groups": (lambda: sequential(PICTURE, L.Conv2D(4, 2, groups=2, name="c")), ["c (Conv2D)"]),
    "masking": (
        lambda: sequential(
            (5,), L.Embedding(7, 3, mask_zero=True, name="words"), L.LSTM(2, name="rnn")
        ),
        ["words (Embedding)", "rnn (LSTM)"],
    ),
    "dropout": (lambda: sequential(SERIES, L.GRU(2, dropout=0.5, name="gru")), ["gru (GRU)"]),
    "wrapper": (
        lambda: sequential(SERIES, L.Bidirectional(L.LSTM(2), name="both")),
        ["both (Bidirectional)"],
    ),
    "attention": (attention, ["attention (MultiHeadAttention)"]),
    "model": (
        lambda: sequential((4,), Subclassed(), L.Dense(1)),
        ["subclassed (Subclassed)"],
    ),
    "along the batch": (lambda: operation(lambda x: keras.ops.flip(x, axis=0)), ["flip (Flip)"]),
    "the batch with itself": (
        lambda: operation(lambda x: x + keras.ops.einsum("ij,kj->ik", x, x)[:, :3]),
        ["einsum (Einsum)"],
    ),
    "over the batch": (
        lambda: operation(lambda x: x - keras.ops.mean(x, axis=0)),
        ["mean (Mean)"],
    ),
}


@pytest.mark.parametrize("kind", WITHOUT_RULE)
def test_a_layer_without_a_rule_is_named(kind):
    make, names = WITHOUT_RULE[kind]
    keras.utils.clear_session(free_memory=False)  # collecting garbage takes seconds
    network = make()
    assert layers_without_rule(network) == names
    x = tf.zeros([2, 3, *network.inputs[0].shape[1:]])
    with pytest.raises(ValueError, match=r"cannot carry the task axis: \['" + names[0].split()[0]):
        values = [(v, tf.stack([v.value] * 2)) for v in network.trainable_variables]
        call_with_task_axis(network, x, values)


def test_a_convolution_of_unknown_size_is_refused():
    network = sequential((None, None, 1), L.Conv2D(2, 2))
    values = [(v, tf.stack([v.value] * 2)) for v in network.trainable_variables]

    @tf.function(input_signature=[tf.TensorSpec([2, 3, None, None, 1])])
    def outputs(x):
        return call_with_task_axis(network, x, values)[0]

    with pytest.raises(ValueError, match="inputs of a known size"):
        outputs(tf.zeros([2, 3, 4, 4, 1]))
