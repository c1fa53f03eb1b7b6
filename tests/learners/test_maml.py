"""MAML by hand, what it adapts, and how it draws and normalises."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.inner_loop import UpdateRule
from tfmeta.learners import MAML

DRAWS = np.random.default_rng(0)


def line(weight=0.0):
    """The network `y = w x`."""
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    network.set_weights([np.array([[weight]])])
    return network


def one_task(x, y, query_x, query_y):
    def example(value):
        return np.full((1, 1, 1), value, "float32")

    inputs = {"support_x": example(x), "support_y": example(y), "query_x": example(query_x)}
    return inputs, example(query_y)


@pytest.mark.parametrize("order, slope", [(2, 1 - 2 * 0.1 * 4), (1, 1.0)])
def test_a_step_on_a_line_is_the_one_worked_out_by_hand(order, slope):
    # Support (2, 6), query (1, 5), w = 1: the support loss is (2w - 6)^2, its slope 4 (2w - 6),
    # and at the rate 0.1 the inner step goes to w' = w - 0.4 (2w - 6) = 2.6. The query loss
    # (w' - 5)^2 has the slope 2 (w' - 5) = -4.8 in w', and dw'/dw = 1 - 0.8.
    learner = MAML(line(1.0), update_rule=0.1, inner_steps=1, order=order)
    learner.compile(keras.optimizers.SGD(1.0))
    inputs, query_y = one_task(2.0, 6.0, 1.0, 5.0)
    np.testing.assert_allclose(learner(inputs), [[[2.6]]], rtol=1e-6)
    loss = learner.train_on_batch(inputs, query_y)
    np.testing.assert_allclose(np.ravel(loss)[0], 2.4**2, rtol=1e-5)
    np.testing.assert_allclose(learner.get_weights()[0], [[1.0 + 4.8 * slope]], rtol=1e-5)


def test_evaluation_steps_are_those_outside_of_training():
    learner = MAML(line(), update_rule=0.25, inner_steps=1, evaluation_steps=3)
    learner.compile(keras.optimizers.SGD(0.0))
    inputs, query_y = one_task(1.0, 8.0, 1.0, 8.0)
    # Every step halves the distance to 8.
    np.testing.assert_allclose(learner(inputs), [[[7.0]]])
    np.testing.assert_allclose(np.ravel(learner.train_on_batch(inputs, query_y))[0], 16.0)
    logs = learner.evaluate(inputs, query_y, verbose=0, return_dict=True)
    assert logs == {"mse@0": 64.0, "mse@1": 16.0, "mse@2": 4.0, "mse@3": 1.0, "loss": 1.0}


def two_layers():
    layers = [keras.layers.Dense(4, name="body"), keras.layers.Dense(2, name="head")]
    return keras.Sequential([keras.Input((3,)), *layers])


@pytest.mark.parametrize(
    "adapt, wanted", [("all", [1, 1, 1, 1]), ("head", [0, 0, 1, 1]), ("body", [1, 1, 0, 0])]
)
def test_only_what_is_adapted_moves_in_the_inner_loop_and_all_is_meta_learned(adapt, wanted):
    learner = MAML(two_layers(), adapt=adapt, inner_steps=1, update_rule=0.5)
    x, y = DRAWS.random((4, 3), "float32"), np.array([0, 0, 1, 1])
    state = learner.adapt(x, y)
    adapted = [w for w, moves in zip(learner.network.weights, wanted, strict=True) if moves]
    assert len(state.weights) == len(adapted)
    for fast, slow in zip(state.weights, adapted, strict=True):
        assert not np.allclose(fast, slow)
    learner.compile(keras.optimizers.SGD(0.5))
    before = learner.get_weights()
    learner.train_on_batch(
        {"support_x": x[None], "support_y": y[None], "query_x": x[None]}, y[None]
    )
    moved = [not np.allclose(a, b) for a, b in zip(before, learner.get_weights(), strict=True)]
    assert all(moved)


@keras.saving.register_keras_serializable("tfmeta_tests")
class LearnedRate(UpdateRule):
    """Meta-SGD with one rate: a rule that the outer loop trains."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rate = self.add_weight(shape=(), initializer=keras.initializers.Constant(0.1))
        self.built = True

    def update(self, step, weights, gradients, state):
        rate = tf.convert_to_tensor(self.rate)
        return [w - rate * g for w, g in zip(weights, gradients, strict=True)], state


def test_a_learned_rule_is_trained_and_saved(tmp_path):
    # As above: d(w' - 5)^2 / d rate = 2 (w' - 5) * -4 (2w - 6) with w = 1, w' = 2.6.
    learner = MAML(line(1.0), update_rule=LearnedRate(), inner_steps=1)
    learner.compile(keras.optimizers.SGD(0.001))
    learner.train_on_batch(*one_task(2.0, 6.0, 1.0, 5.0))
    np.testing.assert_allclose(learner.update_rule.rate, 0.1 + 0.001 * 4.8 * 16, rtol=1e-4)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.saving.load_model(tmp_path / "learner.keras")
    assert float(loaded.update_rule.rate) == float(learner.update_rule.rate)


def dropping(**options):
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dropout(0.5, seed=3), keras.layers.Dense(1, use_bias=False)]
    learner = MAML(keras.Sequential([keras.Input((64,)), *layers]), inner_steps=1, **options)
    learner.network.set_weights([np.ones((64, 1)), *learner.network.get_weights()[1:]])
    learner.compile(keras.optimizers.SGD(0.0))
    return learner


def alike(n_tasks):
    """Tasks that differ in nothing, and whose inner step does nothing."""
    ones = np.ones((n_tasks, 1, 64), "float32")
    return {"support_x": 0 * ones, "support_y": ones[..., :1], "query_x": ones}, 64 * ones[..., :1]


def training_losses(learner, n_steps=4):
    inputs, query_y = alike(1)
    return [float(np.ravel(learner.train_on_batch(inputs, query_y))[0]) for _ in range(n_steps)]


def test_dropout_draws_anew_for_every_training_step_and_repeats_for_the_same_seed():
    losses = training_losses(dropping())
    assert len({round(loss, 3) for loss in losses}) >= 3
    assert training_losses(dropping()) == losses


def test_dropout_draws_anew_for_every_task():
    learner = dropping()
    outputs = []

    def remember(y_true, y_pred):
        outputs.append(y_pred)
        return keras.losses.mean_squared_error(y_true, y_pred)

    learner.compile(keras.optimizers.SGD(0.0), loss=remember, run_eagerly=True)
    learner.train_on_batch(*alike(4))
    assert len({round(float(y[0, 0]), 3) for y in outputs}) >= 3


def test_dropout_is_off_outside_of_training():
    inputs, query_y = alike(2)
    assert dropping().evaluate(inputs, query_y, verbose=0, return_dict=True)["loss"] == 0.0


def test_support_statistics_are_those_of_the_support_under_the_adapted_weights():
    norm = keras.layers.BatchNormalization(epsilon=1e-6, center=False, scale=False)
    network = keras.Sequential([keras.Input((2,)), norm, keras.layers.Dense(2)])
    learner = MAML(network, inner_steps=1)
    support_x = DRAWS.normal(3.0, 2.0, (8, 2)).astype("float32")
    state = learner.adapt(support_x, [0, 1] * 4)
    np.testing.assert_allclose(state.moments[0], support_x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(state.moments[1], support_x.var(0), rtol=1e-4)
    query_x = DRAWS.random((3, 2), "float32")
    normal = (query_x - support_x.mean(0)) / np.sqrt(support_x.var(0) + 1e-6)
    kernel, bias = state.weights
    np.testing.assert_allclose(
        learner.predict_query(state, query_x), normal @ kernel + bias, rtol=1e-4
    )
