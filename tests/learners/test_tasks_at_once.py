"""A batch computed a few tasks at a time takes the step of all at once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.inner_loop import MetaSGD
from tfmeta.learners import MAML, ImplicitMAML, Reptile

N_TASKS = 5
DRAWS = np.random.default_rng(0)
INPUTS = {
    "support_x": DRAWS.standard_normal((N_TASKS, 6, 4)).astype("float32"),
    "support_y": np.tile([0, 1, 2, 0, 1, 2], (N_TASKS, 1)),
    "query_x": DRAWS.standard_normal((N_TASKS, 5, 4)).astype("float32"),
}
QUERY_Y = DRAWS.integers(0, 3, (N_TASKS, 5))


def network():
    keras.utils.set_random_seed(0)
    norm = keras.layers.BatchNormalization(momentum=0.5)
    dense = keras.layers.Dense(5, activation="softplus")
    return keras.Sequential([keras.Input((4,)), dense, norm, keras.layers.Dense(3)])


def maml(**options):
    return MAML(network(), update_rule=0.1, inner_steps=2, statistics="running", **options)


def trained(learner, inputs=INPUTS, n_tasks=N_TASKS, weight=None, **options):
    """Logs and weights after one pass over the tasks."""
    learner.compile(keras.optimizers.SGD(0.5), **options)
    parts = (inputs, QUERY_Y) if weight is None else (inputs, QUERY_Y, weight)
    history = learner.fit(tf.data.Dataset.from_tensor_slices(parts).batch(n_tasks), verbose=0)
    return [values[0] for values in history.history.values()], learner.get_weights()


def assert_same(got, wanted):
    for a, b in zip((*got[0], *got[1]), (*wanted[0], *wanted[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("engine", ["mapped", "vectorized"])
@pytest.mark.parametrize("tasks_at_once", [2, pytest.param(7, marks=pytest.mark.slow)])
def test_the_step_of_a_batch_is_that_of_all_at_once(engine, tasks_at_once):
    # Five tasks in parts of two: the last part has one.
    few = trained(maml(engine=engine, tasks_at_once=tasks_at_once))
    assert_same(few, trained(maml(engine=engine)))


def test_masks_and_weights():
    mask, weight = DRAWS.random((N_TASKS, 6)) < 0.7, DRAWS.random((N_TASKS, 5)).astype("float32")
    weight[0, 0] = 0.0
    inputs = {**INPUTS, "support_mask": mask}
    few = trained(maml(tasks_at_once=2), inputs, weight=weight)
    assert_same(few, trained(maml(), inputs, weight=weight))


@pytest.mark.parametrize("kind", [Reptile, ImplicitMAML])
def test_other_learners(kind):
    few = trained(kind(network(), update_rule=0.1, inner_steps=2, tasks_at_once=2))
    assert_same(few, trained(kind(network(), update_rule=0.1, inner_steps=2)))


def test_run_eagerly():
    few = trained(maml(engine="vectorized", tasks_at_once=2), run_eagerly=True)
    assert_same(few, trained(maml()))


@pytest.mark.parametrize("engine", ["mapped", "vectorized"])
def test_under_xla(engine):
    weights = []
    for tasks_at_once, jit_compile in ((None, False), (2, True)):
        learner = maml(engine=engine, tasks_at_once=tasks_at_once)
        learner.compile(keras.optimizers.SGD(0.5), jit_compile=jit_compile)
        learner.train_on_batch({key: x[:4] for key, x in INPUTS.items()}, QUERY_Y[:4])
        weights.append(learner.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_xla_needs_parts_of_one_size():
    learner = maml(engine="vectorized", tasks_at_once=2)
    learner.compile(keras.optimizers.SGD(0.5), jit_compile=True)
    with pytest.raises(ValueError, match=r"multiple of `tasks_at_once` \(2\).* n_tasks=5"):
        learner.train_on_batch(INPUTS, QUERY_Y)


def test_no_gradient_has_a_task_axis():
    # Of all tensors of the step, none holds the gradients of the kernel of all tasks.
    learner = maml()
    learner.compile(keras.optimizers.SGD(0.5))
    elements = {**INPUTS, "query_y": QUERY_Y}
    step = tf.function(lambda: learner.outer_steps(elements)).get_concrete_function()
    shapes = [t.shape for op in step.graph.get_operations() for t in op.outputs]
    assert tf.TensorShape([4, 5]) in shapes
    assert tf.TensorShape([N_TASKS, 4, 5]) not in shapes


def test_it_is_saved():
    learner = MAML(network(), update_rule=MetaSGD(0.1), tasks_at_once=3)
    config = keras.saving.serialize_keras_object(learner)
    assert keras.saving.deserialize_keras_object(config).tasks_at_once == 3


@pytest.mark.parametrize("value", [0, -1, 2.5])
def test_what_is_not_a_count(value):
    with pytest.raises(ValueError, match="`tasks_at_once` must be a positive integer"):
        maml(tasks_at_once=value)
