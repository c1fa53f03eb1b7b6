"""The task axis in the layers: every kind of layer against a loop over the tasks, in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.layers import moving_statistics, use_exact_layers
from tfmeta.layers.task_axis import call_with_task_axis, layers_without_rule
from tfmeta.learners.passes import network_pass

N_TASKS, N = 3, 4
L = keras.layers
PICTURE, SERIES = (6, 5, 4), (5, 4)


def sequential(shape, *layers, dtype="float64", input_dtype=None):
    return keras.Sequential([keras.Input(shape, dtype=input_dtype or dtype), *layers])


def residual(dtype="float64"):
    inputs = keras.Input((4,), dtype=dtype)
    block = keras.Sequential(
        [keras.Input((4,)), L.Dense(4, "tanh"), L.BatchNormalization(momentum=0.7)]
    )
    inner = keras.Input((4,), dtype=dtype)
    nested = keras.Model(inner, L.Concatenate()([block(inner), inner]))
    x = L.Dense(8, "tanh")(inputs)
    x = L.Add()([x, nested(block(inputs))]) * 0.5
    return keras.Model(inputs, keras.ops.tanh(L.Dense(3)(x)))


def states():
    inputs = keras.Input(SERIES)
    sequences, *states = L.LSTM(3, return_sequences=True, return_state=True)(inputs)
    x = L.Concatenate()([L.Flatten()(sequences), *states])
    return keras.Model(inputs, L.Dense(2, "tanh")(x))


KINDS = {
    "dense": lambda: sequential((4,), L.Dense(5, "tanh"), L.Dense(2, "softmax")),
    "dense of rank 3": lambda: sequential((3, 4), L.Dense(5, "tanh", use_bias=False), L.Dense(2)),
    "einsum": lambda: sequential(
        (3, 4), L.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d", activation="tanh")
    ),
    "einsum, ellipsis": lambda: sequential(
        (3, 4), L.EinsumDense("...x,xyz->...yz", (2, 3), bias_axes="yz", activation="tanh")
    ),
    "embedding": lambda: sequential((5,), L.Embedding(7, 3), L.Flatten(), L.Dense(2)),
    "prelu": lambda: sequential((4,), L.Dense(5), L.PReLU("ones"), L.Dense(2)),
    "shared prelu": lambda: sequential(PICTURE, L.PReLU("ones", shared_axes=[1, 2])),
    "conv1d": lambda: sequential(SERIES, L.Conv1D(3, 3, activation="tanh"), L.Flatten()),
    "conv1d, causal": lambda: sequential(
        SERIES, L.Conv1D(3, 2, padding="causal", dilation_rate=2, activation="tanh")
    ),
    "conv2d": lambda: sequential(PICTURE, L.Conv2D(3, 3, activation="tanh")),
    "conv2d, same": lambda: sequential(
        PICTURE, L.Conv2D(3, (3, 2), strides=2, padding="same", activation="tanh")
    ),
    "conv2d, dilated": lambda: sequential(
        PICTURE, L.Conv2D(3, 2, dilation_rate=(3, 2), padding="same", use_bias=False), L.ELU()
    ),
    "conv2d, strides": lambda: sequential(
        PICTURE, L.Conv2D(3, 2, strides=(3, 2), activation="tanh"), L.Flatten(), L.Dense(2)
    ),
    "conv3d": lambda: sequential(
        (4, 3, 3, 2), L.Conv3D(2, 2, strides=2, padding="same", activation="tanh")
    ),
    "depthwise": lambda: sequential(
        PICTURE, L.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="tanh")
    ),
    "depthwise, strides": lambda: sequential(
        PICTURE, L.DepthwiseConv2D(3, strides=2, use_bias=False), L.ELU()
    ),
    "max pooling": lambda: sequential(
        PICTURE, L.Conv2D(3, 2), L.ReLU(), L.MaxPooling2D(2), L.Dense(2, "tanh")
    ),
    "max pooling, same": lambda: sequential(
        PICTURE, L.Conv2D(3, 2), L.MaxPooling2D(3, 2, padding="same"), L.Dense(2, "tanh")
    ),
    "batch norm": lambda: sequential(
        PICTURE, L.Conv2D(3, 2), L.BatchNormalization(), L.ReLU(), L.Flatten(), L.Dense(2)
    ),
    "batch norm of vectors": lambda: sequential(
        (4,), L.Dense(3), L.BatchNormalization(scale=False), L.ELU(), L.Dense(2)
    ),
    "batch norm, axis 1": lambda: sequential(
        PICTURE, L.Dense(3), L.BatchNormalization(axis=1, center=False), L.Dense(2, "tanh")
    ),
    "frozen batch norm": lambda: sequential(
        (4,), L.Dense(3), L.BatchNormalization(trainable=False), L.Dense(2, "tanh")
    ),
    "layer norm": lambda: sequential(
        (4,), L.Dense(5, "tanh"), L.Dense(5), L.LayerNormalization(), L.Dense(2, "tanh")
    ),
    "layer norm, two axes": lambda: sequential(
        SERIES, L.Dense(5, "tanh"), L.Dense(3), L.LayerNormalization([1, 2]), L.Dense(2, "tanh")
    ),
    "group norm": lambda: sequential(
        PICTURE, L.Conv2D(4, 2), L.ELU(), L.GroupNormalization(2), L.Dense(2, "tanh")
    ),
    "group norm, axis 1": lambda: sequential(
        PICTURE, L.Dense(4, "tanh"), L.GroupNormalization(3, axis=1), L.Dense(2, "tanh")
    ),
    "simple rnn": lambda: sequential(SERIES, L.SimpleRNN(3), L.Dense(2)),
    "lstm": lambda: sequential(SERIES, L.LSTM(3, return_sequences=True), L.LSTM(2)),
    "lstm, unrolled": lambda: sequential(SERIES, L.LSTM(3, unroll=True, go_backwards=True)),
    "lstm, states": states,
    "gru": lambda: sequential(SERIES, L.GRU(3, go_backwards=True, return_sequences=True)),
    "gru, reset before": lambda: sequential(SERIES, L.GRU(3, reset_after=False, use_bias=False)),
    "nested, shared, residual": residual,
}


@pytest.fixture
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def built(kind, seed=0):
    """The network, inputs of several tasks, values of all its weights and moving statistics."""
    network = KINDS[kind]()
    use_exact_layers(network)
    rng = np.random.default_rng(seed)

    def draws(*shape):
        return tf.constant(rng.normal(size=shape), network.compute_dtype)

    x = draws(N_TASKS, N, *network.input_shape[1:])
    if kind == "embedding":
        x = tf.constant(rng.integers(0, 7, x.shape), network.inputs[0].dtype)
    values = [(v, v.value + 0.3 * draws(N_TASKS, *v.shape)) for v in network.trainable_variables]
    moments = tuple(
        v.value + 0.3 * tf.abs(draws(N_TASKS, *v.shape)) for v in moving_statistics(network)
    )
    return network, x, values, moments


def loop_over_tasks(network, x, values, *, moments=(), **options):
    passes = [
        network_pass(
            network,
            x[t],
            values=[(v, value[t]) for v, value in values],
            moments=tuple(m[t] for m in moments),
            **options,
        )
        for t in range(x.shape[0])
    ]
    outputs = tf.stack([y for y, _ in passes])
    return outputs, tuple(tf.stack(m) for m in zip(*(after for _, after in passes), strict=True))


def derivatives(call, network, x, values, moments, **options):
    """Outputs, moving statistics, and first and second derivatives in x, values and moments."""
    variables = [v for v, _ in values]
    sources = [x, *(value for _, value in values), *moments]

    def loss(outputs, after):
        terms = [tf.reduce_sum(tf.sin(1.3 * y + 0.2)) for y in [outputs, *after]]
        return tf.add_n(terms)

    with tf.GradientTape() as outer:
        outer.watch(sources)
        with tf.GradientTape() as inner:
            inner.watch(sources)
            pairs = list(zip(variables, sources[1 : 1 + len(variables)], strict=True))
            outputs, after = call(network, x, pairs, moments=tuple(moments), **options)
            total = loss(outputs, after)
        first = inner.gradient(total, sources, unconnected_gradients="zero")
        first = [tf.convert_to_tensor(g) for g in first]
        product = tf.add_n([tf.reduce_sum(tf.cos(g) * g) for g in first])
    second = outer.gradient(product, sources, unconnected_gradients="zero")
    return [outputs, *after, *first, *map(tf.convert_to_tensor, second)]


def assert_same(got, wanted, tolerance):
    for a, b in zip(got, wanted, strict=True):
        scale = max(1.0, float(np.max(np.abs(b))) if np.size(b) else 0.0)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_agrees_with_a_loop_over_the_tasks(kind, float64):
    network, x, values, moments = built(kind)
    assert layers_without_rule(network) == []
    for source in ("batch", "moving", "update") if moments else ("batch",):
        sample = (network, x, values, moments)
        got = derivatives(call_with_task_axis, *sample, source=source)
        wanted = derivatives(loop_over_tasks, *sample, source=source)
        assert_same(got, wanted, 1e-10)


@pytest.mark.parametrize("kind", ["max pooling, same", "batch norm", "simple rnn"])
def test_second_derivatives_are_the_same_under_xla(kind, float64):
    network, x, values, moments = built(kind)
    variables = [v for v, _ in values]

    @tf.function(jit_compile=True)
    def compiled(x, tensors, moments):
        pairs = list(zip(variables, tensors, strict=True))
        return derivatives(call_with_task_axis, network, x, pairs, moments, source="batch")

    wanted = derivatives(call_with_task_axis, network, x, values, moments, source="batch")
    assert_same(compiled(x, [value for _, value in values], moments), wanted, 1e-10)


@pytest.mark.parametrize("kind", ["conv2d, same", "batch norm", "layer norm", "embedding", "lstm"])
def test_float32_agrees_with_a_loop_over_the_tasks(kind):
    network, x, values, moments = built(kind)
    got = call_with_task_axis(network, x, values, source="batch", moments=moments)
    wanted = loop_over_tasks(network, x, values, source="batch", moments=moments)
    assert_same(tf.nest.flatten(got), tf.nest.flatten(wanted), 1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_without_a_source_statistics_go_by_training(training, float64):
    network, x, values, moments = built("nested, shared, residual")
    source = "update" if training else "moving"
    got = call_with_task_axis(network, x, values, training=training, moments=moments)
    wanted = loop_over_tasks(network, x, values, source=source, moments=moments)
    assert_same(tf.nest.flatten(got), tf.nest.flatten(wanted), 1e-10)


def test_weights_without_values_are_shared(float64):
    network, x, values, moments = built("nested, shared, residual")
    some = values[1::2]
    got = derivatives(call_with_task_axis, network, x, some, moments, source="batch")
    wanted = derivatives(loop_over_tasks, network, x, some, moments, source="batch")
    assert_same(got, wanted, 1e-10)


@pytest.mark.parametrize("kind", ["einsum", "conv2d", "depthwise", "batch norm", "gru"])
def test_a_layer_with_one_value_of_two_shares_the_other(kind, float64):
    network, x, values, _ = built(kind)
    for some in (values[:1], values[1:2]):
        got = derivatives(call_with_task_axis, network, x, some, (), source="batch")
        wanted = derivatives(loop_over_tasks, network, x, some, (), source="batch")
        assert_same(got, wanted, 1e-10)


def test_shared_variables_get_the_gradient_of_all_tasks(float64):
    network, x, _, _ = built("conv2d, same")
    with tf.GradientTape(persistent=True) as tape:
        got = tf.reduce_sum(call_with_task_axis(network, x, [])[0] ** 2)
        wanted = tf.reduce_sum(loop_over_tasks(network, x, [], source="moving")[0] ** 2)
    weights = [v.value for v in network.trainable_variables]
    assert_same(tape.gradient(got, weights), tape.gradient(wanted, weights), 1e-10)


def test_statistics_start_from_the_variables(float64):
    network, x, values, _ = built("batch norm of vectors")
    got = call_with_task_axis(network, x, values, source="update")[1]
    wanted = loop_over_tasks(network, x, values, source="update")[1]
    assert_same(got, wanted, 1e-12)


def test_max_pooling_of_ties_sends_the_gradient_where_the_kernel_does():
    pool = sequential((6, 6, 2), L.MaxPooling2D(3, 2, padding="same"), dtype="float32")
    x = np.random.default_rng(0).integers(-2, 2, (N_TASKS, N, 6, 6, 2))
    x = tf.constant(x, tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        weights = tf.reshape(tf.range(N_TASKS * N * 18.0), [N_TASKS, N, 3, 3, 2])
        got = tf.reduce_sum(weights * call_with_task_axis(pool, x, [])[0])
        wanted = tf.reduce_sum(weights * loop_over_tasks(pool, x, [], source="moving")[0])
    np.testing.assert_array_equal(tape.gradient(got, x), tape.gradient(wanted, x))


@pytest.mark.parametrize("kind", ["batch norm", "embedding", "einsum", "depthwise", "lstm"])
def test_the_number_of_tasks_and_examples_may_be_unknown(kind, float64):
    network, x, values, _ = built(kind)

    def outputs(x, *tensors):
        pairs = zip(network.trainable_variables, tensors, strict=True)
        return call_with_task_axis(network, x, pairs, source="batch")[0]

    tensors = [x, *(value for _, value in values)]
    free = [tf.TensorSpec([None, None, *x.shape[2:]], x.dtype)]
    free += [tf.TensorSpec([None, *value.shape[1:]], value.dtype) for _, value in values]
    got = tf.function(outputs, input_signature=free)(*tensors)
    assert_same([got], [outputs(*tensors)], 1e-12)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_near_float32(policy):
    def network():
        return sequential(
            PICTURE,
            L.Conv2D(3, 2, padding="same"),
            L.BatchNormalization(),
            L.ReLU(),
            L.MaxPooling2D(3, 2, padding="same"),
            L.LayerNormalization(),
            L.Reshape((9, 3)),
            L.GRU(3),
            L.Dense(2),
            dtype="float32",
        )

    keras.config.set_dtype_policy(policy)
    try:
        half = network()
    finally:
        keras.config.set_dtype_policy("float32")
    full = network()
    full.set_weights(half.get_weights())
    use_exact_layers(half)
    use_exact_layers(full)
    x = tf.constant(np.random.default_rng(0).normal(size=(N_TASKS, N, *PICTURE)), tf.float32)
    rows = [
        call_with_task_axis(
            network,
            x,
            [(v, tf.stack([v.value * s for s in (0.5, 1.0, 2.0)])) for v in network.weights[:-2]],
            source="batch",
        )
        for network in (half, full)
    ]
    (got, moments), (wanted, _) = rows
    assert got.dtype == half.compute_dtype
    assert all(m.dtype == tf.float32 for m in moments)
    np.testing.assert_allclose(tf.cast(got, tf.float32), wanted, atol=0.05)


def test_dropout_draws_for_every_task_and_assigns_nothing():
    network = sequential((50,), L.Dropout(0.5, seed=1), L.Dense(1), dtype="float32")
    (seed,) = [v for v in network.non_trainable_variables if "seed" in v.name]
    before = seed.numpy()
    kernels = [(network.trainable_variables[0], tf.ones([2, 50, 1]))]
    x = tf.constant(np.random.default_rng(0).normal(size=(1, 1, 50)), tf.float32)
    x = tf.tile(x, [2, 3, 1])

    def draw(shared=()):
        return call_with_task_axis(network, x, kernels, training=True, shared=shared)[0].numpy()

    assert len(np.unique(draw())) == 6
    np.testing.assert_array_equal(draw(), draw())
    assert not np.array_equal(draw(), draw([(seed, seed.value + 1)]))
    np.testing.assert_array_equal(seed.numpy(), before)


def test_moving_statistics_are_returned_and_not_assigned():
    network, x, values, _ = built("batch norm of vectors")
    before = [v.numpy() for v in network.weights]
    call_with_task_axis(network, x, values, source="update")
    for variable, value in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_layer_without_a_rule_may_be_shared(float64):
    inputs = keras.Input((4, 3))
    x = L.MultiHeadAttention(1, 2, name="attention")(inputs, inputs)
    head = L.Dense(2)
    network = keras.Model(inputs, head(x))
    assert layers_without_rule(network, head.weights) == []
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 3, 4, 3)))
    values = [(v, tf.stack([v.value, 2.0 * v.value])) for v in head.weights]
    got = call_with_task_axis(network, x, values)
    wanted = loop_over_tasks(network, x, values, source="moving")
    assert_same([got[0]], [wanted[0]], 1e-10)


def test_a_wrong_source_is_refused():
    network, x, values, _ = built("dense")
    with pytest.raises(ValueError, match="`source` must be one of"):
        call_with_task_axis(network, x, values, source="running")
