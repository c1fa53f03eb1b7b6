"""The plan of a train step: what is alive in its graph, and what a budget has room for."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.learners import MAML, ImplicitMAML, Reptile
from tfmeta.learners.plan import live_bytes
from tfmeta.models import conv4

KILO = 4 * 1000  # bytes of a thousand floats


def alive(function, size):
    spec = tf.TensorSpec([size])
    return live_bytes(tf.function(function, autograph=False).get_concrete_function(spec).graph)


def peak(function, size):
    return alive(function, size).peak


def test_a_chain_of_elementwise_operations_takes_one_tensor():
    assert peak(lambda x: tf.exp(tf.tanh(tf.exp(x))), 1000) == KILO


def test_what_is_read_later_lives_on():
    def function(x):
        a = tf.exp(x)
        b = tf.cumsum(tf.cumsum(a))  # one is alive beside `a` while the next is made
        return b * a

    assert peak(function, 1000) == 3 * KILO


def test_the_mean_goes_by_the_bytes_that_are_moved():
    # 1000 numbers are alive while 2000 are moved, 2000 while 2000 are.
    mean = alive(lambda x: tf.cumsum(tf.cumsum(x)), 1000).mean
    assert abs(mean - 1.5 * KILO) < 0.01 * KILO


def test_a_view_takes_nothing():
    assert peak(lambda x: tf.reshape(tf.cumsum(x), [10, 100]), 1000) == KILO


def test_a_matrix_product():
    outer = peak(lambda x: tf.reduce_sum(x[:, tf.newaxis] @ x[tf.newaxis, :]), 100)
    assert 100 * 100 * 4 <= outer <= 100 * 100 * 4 + 2 * 100 * 4 + 100


def test_the_larger_branch_of_a_condition_counts():
    def function(x):
        big = lambda: tf.reduce_sum(tf.cumsum(tf.tile(x, [10])))  # noqa: E731
        return tf.cond(x[0] > 0, big, lambda: 0.0)

    assert 20 * KILO <= peak(function, 1000) <= 21 * KILO


def test_a_loop_keeps_every_pass_for_the_gradient():
    def loop(x):
        return tf.while_loop(
            lambda i, _: i < 50, lambda i, y: (i + 1, tf.exp(y)), (0, x), maximum_iterations=50
        )

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(loop(x)[1])
        return tape.gradient(y, x)

    assert KILO <= peak(lambda x: loop(x)[1], 1000) <= 4 * KILO
    assert 50 * KILO <= peak(gradient, 1000) <= 56 * KILO


def test_what_no_output_needs_is_not_computed():
    def function(x):
        tf.tile(x, [50])
        return tf.reduce_sum(x)

    assert peak(function, 1000) == 4


# ----- of learners ------------------------------------------------------------------------------


def inputs(n_tasks=4, n_query=10):
    return {
        "support_x": np.zeros((n_tasks, 5, 12, 12, 1), "float32"),
        "support_y": np.tile(np.arange(5), (n_tasks, 1)),
        "query_x": np.zeros((n_tasks, n_query, 12, 12, 1), "float32"),
    }


def learner(kind=MAML, inner_steps=1, **options):
    net = conv4((12, 12, 1), outputs=5, filters=4, downsampling="stride")
    return kind(net, inner_steps=inner_steps, **options)


def test_the_parts_of_a_plan():
    plan = learner().plan(inputs())
    pictures, labels, logits = 15 * 144 * 4, 15 * 4, 10 * 5 * 4
    assert plan.episode_bytes == pictures + labels + logits + 8  # eight of the seed
    assert (plan.n_tasks, plan.tasks_at_once) == (4, 4)
    parts = plan.fixed_bytes + 4 * plan.episode_bytes + plan.task_bytes + 3 * plan.next_task_bytes
    assert plan.peak_bytes == parts
    assert 0.2 * plan.task_bytes < plan.next_task_bytes < 0.9 * plan.task_bytes
    assert plan.largest_n_tasks is plan.largest_tasks_at_once is None


@pytest.mark.slow
def test_it_counts_the_optimizer():
    plain, compiled = learner(), learner()
    compiled.compile(keras.optimizers.Adam())
    compiled.optimizer.build(compiled.trainable_variables)
    more = compiled.plan(inputs()).fixed_bytes - plain.plan(inputs()).fixed_bytes
    weights = sum(int(np.prod(v.shape)) * 4 for v in plain.trainable_variables)
    assert 2 * weights <= more <= 2 * weights + 100


@pytest.mark.slow
def test_a_task_grows_with_queries_and_steps():
    one = learner().plan(inputs()).task_bytes
    assert learner().plan(inputs(n_query=20)).task_bytes > 1.4 * one
    three = learner(inner_steps=3).plan(inputs()).task_bytes
    assert three > 1.2 * one
    assert learner(inner_steps=3, checkpoint_inner=True).plan(inputs()).task_bytes < 0.9 * three
    assert learner(inner_steps=3, order=1).plan(inputs()).task_bytes < 0.9 * three


@pytest.mark.parametrize("kind", [Reptile, ImplicitMAML])
def test_other_learners_plan(kind):
    assert learner(kind, inner_steps=2).plan(inputs()).task_bytes > 15 * 6 * 6 * 4 * 4


def test_the_vectorized_engine_computes_all_or_some_at_once():
    assert learner(engine="vectorized").plan(inputs(12)).tasks_at_once == 12
    assert learner().plan(inputs(12)).tasks_at_once == 10
    some = learner(engine="vectorized", tasks_at_once=3).plan(inputs(12))
    assert some.tasks_at_once == 3
    assert some.next_task_bytes == some.task_bytes > 0


def test_a_budget_says_what_would_fit():
    plan = learner().plan(inputs(8))
    roomy = learner().plan(inputs(8), memory=plan.peak_bytes)
    assert (roomy.largest_n_tasks, roomy.largest_tasks_at_once) == (8, 8)
    memory = plan.peak_bytes - 3 * plan.next_task_bytes
    message = rf"{memory} bytes.*n_tasks=8, 8 at once.*`tasks_at_once=5` or n_tasks=5 would"
    with pytest.raises(ValueError, match=message):
        learner().plan(inputs(8), memory=memory)
    assert learner(tasks_at_once=5).plan(inputs(8), memory=memory).peak_bytes <= memory
    with pytest.raises(ValueError, match=r"Not even one task does.*checkpoint_inner=True"):
        learner().plan(inputs(8), memory=1000)


def test_tasks_that_wait_take_their_episode_only():
    plan = learner(tasks_at_once=2).plan(inputs(8))
    memory = plan.peak_bytes + 5 * plan.episode_bytes
    assert learner(tasks_at_once=2).plan(inputs(8), memory=memory).largest_n_tasks == 13


# ----- beside what is measured ------------------------------------------------------------------

MEASURE = """
import ctypes, json, sys, time
import keras, numpy as np, tensorflow as tf
from tfmeta.learners import MAML
from tfmeta.models import conv4

inner_steps, checkpoint, tasks_at_once, n_tasks = json.loads(sys.argv[1])

def status(name):
    with open("/proc/self/status") as file:
        return next(int(l.split()[1]) * 1024 for l in file if l.startswith(name + ":"))

def episodes(n):
    x = np.random.default_rng(0).random((n, 5, 28, 28, 1), "float32")
    query_x = np.random.default_rng(1).random((n, 75, 28, 28, 1), "float32")
    y = np.tile(np.arange(5), (n, 1))
    return {"support_x": x, "support_y": y, "query_x": query_x}, np.tile(y, (1, 15))

net = conv4(outputs=5, downsampling="stride")
learner = MAML(net, inner_steps=inner_steps, checkpoint_inner=checkpoint,
               tasks_at_once=tasks_at_once)
learner.compile(keras.optimizers.SGD(0.01))
begun = time.process_time()
plan = learner.plan(episodes(n_tasks)[0])
seconds = time.process_time() - begun

def spec(x):
    return tf.TensorSpec([None, *x.shape[1:]], x.dtype)

one, all_tasks = (tf.nest.map_structure(tf.constant, episodes(n)) for n in (1, n_tasks))
step = tf.function(lambda *data: learner.train_step(data), autograph=False,
                   input_signature=tf.nest.map_structure(spec, one))
step(*one)
# What the traced graph and TensorFlow take is there now; the rest goes back.
ctypes.CDLL(None).malloc_trim(0)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak begins anew
before = status("VmRSS")
step(*all_tasks)
measured = status("VmHWM") - before
there = plan.fixed_bytes + plan.n_tasks * plan.episode_bytes  # made before the step
predicted = plan.peak_bytes - there
print(json.dumps({"predicted": predicted, "measured": measured, "task": plan.task_bytes,
                  "seconds": seconds}))
"""


def measured(*case):
    command = [sys.executable, "-c", MEASURE, json.dumps(case)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    return json.loads(lines[-2])


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("inner_steps", [1, 5])
def test_what_is_predicted_is_measured(inner_steps, checkpoint):
    result = measured(inner_steps, checkpoint, 4, 8)
    assert result["seconds"] < 30
    assert abs(result["predicted"] / result["measured"] - 1.0) < 0.3
