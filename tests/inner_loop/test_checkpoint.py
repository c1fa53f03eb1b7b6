import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta import inner_loop


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((3,), dtype="float64"),
            keras.layers.Dense(6, activation="tanh", dtype="float64"),
            keras.layers.Dropout(0.4, dtype="float64"),
            keras.layers.Dense(1, dtype="float64"),
        ]
    )


def outer_gradients(*, checkpoint, inner_steps=3, adapted=slice(None), rule=None):
    """The gradient of the loss after the inner loop, in all variables; dropout draws every pass."""
    net, draws = network(), np.random.default_rng(0)
    x, y = draws.standard_normal((2, 5, 3)), draws.standard_normal((2, 5, 1))
    chosen = net.trainable_variables[adapted]
    rule = rule or inner_loop.Adam(0.1)

    def loss(weights, x, y):
        values = zip(chosen, weights, strict=True)
        outputs, _ = inner_loop.stateless_call(net, x, values=values, training=True)
        return tf.reduce_mean(tf.square(outputs - y))

    @tf.function(autograph=False)
    def gradients():
        with tf.GradientTape() as tape, inner_loop.episode_draws(tf.constant(5)):
            path = inner_loop.inner_loop(
                lambda weights, step: loss(weights, x[0], y[0]),
                [tf.convert_to_tensor(v.value) for v in chosen],
                rule=rule,
                inner_steps=inner_steps,
                checkpoint=checkpoint,
            )
            query_loss = loss(path[-1], x[1], y[1])
        sources = [v.value for v in net.trainable_variables]
        return inner_loop.dense_gradients(tape, query_loss, sources)

    return gradients


@pytest.mark.parametrize("adapted", [slice(None), slice(2, 4)], ids=["all", "head"])
def test_derivatives_are_the_same_with_dropout_drawn_again(adapted):
    kept, recomputed = (outer_gradients(checkpoint=c, adapted=adapted)() for c in (False, True))
    for a, b in zip(recomputed, kept, strict=True):
        assert np.abs(b).max() > 1e-6
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_the_graph_hardly_grows_with_the_steps():
    def n_operations(inner_steps, **options):
        graph = outer_gradients(inner_steps=inner_steps, **options).get_concrete_function().graph
        functions = graph.as_graph_def().library.function
        return len(graph.get_operations()) + sum(len(f.node_def) for f in functions)

    rule = inner_loop.GradientDescent(0.1)
    added = [
        n_operations(6, checkpoint=c, rule=rule) - n_operations(2, checkpoint=c, rule=rule)
        for c in (False, True)
    ]
    assert 0 < added[1] < 0.5 * added[0]


def test_the_loss_gets_the_step():
    def path(checkpoint):
        return tf.function(
            lambda w: inner_loop.inner_loop(
                lambda weights, step: tf.cast(step + 1, w.dtype) * weights[0],
                [w],
                rule=inner_loop.GradientDescent(1.0),
                inner_steps=3,
                checkpoint=checkpoint,
            )
        )(tf.constant(0.0))

    assert (
        [float(w[0]) for w in path(True)] == [float(w[0]) for w in path(False)] == [0, -1, -3, -6]
    )
