"""Under `mixed_bfloat16` layers compute in bfloat16, and fast weights stay float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.learners import MAML

N_TASKS = 4
DRAWS = np.random.default_rng(0)
CENTERS = DRAWS.standard_normal((N_TASKS, 3, 6)) * 2.0
SUPPORT_Y = np.tile(np.repeat(np.arange(3), 4), (N_TASKS, 1))


def examples():
    means = np.take_along_axis(CENTERS, SUPPORT_Y[..., None], axis=1)
    return (means + DRAWS.standard_normal(means.shape)).astype("float32")


INPUTS = {"support_x": examples(), "support_y": SUPPORT_Y, "query_x": examples()}
SEEN = []


class Probe(keras.layers.Layer):
    """Passes its input on and remembers the dtype."""

    def call(self, x):
        SEEN.append(x.dtype)
        return x


def network(policy):
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(16, dtype=policy),
        keras.layers.BatchNormalization(dtype=policy),
        keras.layers.Activation("tanh", dtype=policy),
        Probe(dtype=policy),
        keras.layers.Dense(3, dtype=policy),
    ]
    return keras.Sequential([keras.Input((6,)), *layers])


def maml(policy, **options):
    learner = MAML(network(policy), update_rule=0.1, inner_steps=2, **options)
    learner.compile(keras.optimizers.SGD(0.05))
    return learner


ENGINES = pytest.mark.parametrize("engine", ["mapped", "vectorized"])


@ENGINES
def test_activations_are_half_and_fast_weights_full(engine):
    learner = maml("mixed_bfloat16", engine=engine)
    del SEEN[:]
    learner.train_on_batch(INPUTS, SUPPORT_Y)
    assert set(SEEN) == {tf.bfloat16}
    state = learner.adapt(INPUTS["support_x"][0], SUPPORT_Y[0])
    assert {w.dtype for w in (*state.weights, *state.moments)} == {tf.float32}
    assert learner.predict_query(state, INPUTS["query_x"][0]).dtype == tf.float32
    assert {v.dtype for v in learner.trainable_variables} == {"float32"}


@ENGINES
def test_training_lowers_the_loss(engine):
    learner = maml("mixed_bfloat16", engine=engine)
    learner.compile(keras.optimizers.Adam(0.03))
    history = learner.fit(INPUTS, SUPPORT_Y, batch_size=N_TASKS, epochs=15, verbose=0)
    assert history.history["loss"][-1] < 0.8 * history.history["loss"][0]


@ENGINES
def test_the_meta_gradient_is_that_of_float32_but_for_rounding(engine):
    def gradient(policy):
        learner = maml(policy, engine=engine)
        elements = {k: tf.convert_to_tensor(x) for k, x in INPUTS.items()}
        step = tf.function(learner.outer_steps)({**elements, "query_y": SUPPORT_Y})
        return np.concatenate([np.ravel(g) for g in step.gradients])

    full, half = gradient("float32"), gradient("mixed_bfloat16")
    error = np.linalg.norm(half - full) / np.linalg.norm(full)
    assert 0.0 < error < 0.02
