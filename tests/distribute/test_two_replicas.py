"""Two logical CPU replicas give the weights of one, or a clear error."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.learners import MAML, MetaLSTM, PrototypicalNetwork, SequenceLearner
from tfmeta.models.memory import MANN

N_TASKS, N_STEPS = 4, 3


def layers(*head):
    norm = keras.layers.BatchNormalization(momentum=0.5)
    return [keras.Input((4,)), keras.layers.Dense(5, activation="softplus"), norm, *head]


def maml(statistics="support", **options):
    network = keras.Sequential(layers(keras.layers.Dense(3)))
    return MAML(network, inner_steps=2, update_rule=0.1, statistics=statistics, **options)


def meta_lstm():
    network = keras.Sequential(layers(keras.layers.Dense(3)))
    return MetaLSTM(network, inner_steps=2, update_rule=0.1)


def prototypes():
    return PrototypicalNetwork(keras.Sequential(layers()))


def sequence():
    return SequenceLearner(
        keras.Sequential(layers()), MANN(6, n_slots=5, slot_width=3, n_heads=1), n_way=3
    )


LEARNERS = {
    "prototypes_running": prototypes,
    "maml_support": maml,
    "sequence_running": sequence,
    "maml_running": lambda: maml("running"),
    "meta_lstm": meta_lstm,
    "maml_parts": lambda: maml("running", engine="vectorized", tasks_at_once=1),
}


def episodes():
    n = N_TASKS * N_STEPS
    draws = np.random.default_rng(0)
    inputs = {
        "support_x": draws.standard_normal((n, 6, 4)).astype("float32"),
        "support_y": np.tile(np.repeat(np.arange(3), 2), (n, 1)).astype("int32"),
        "query_x": draws.standard_normal((n, 5, 4)).astype("float32"),
        "episode": np.arange(100, 100 + n),
    }
    return inputs, draws.integers(0, 3, (n, 5)).astype("int32")


def dataset(n_tasks=N_TASKS, **options):
    return tf.data.Dataset.from_tensor_slices(episodes()).batch(n_tasks, **options)


def compiled(make, optimizer=None, **options):
    keras.utils.set_random_seed(0)
    learner = make()
    learner.compile(optimizer or keras.optimizers.SGD(0.1), metrics=["accuracy"], **options)
    return learner


def on(strategy, make, optimizer=None, **options):
    with strategy.scope():
        optimizer = optimizer() if optimizer else keras.optimizers.SGD(0.1)
        return compiled(make, optimizer, **options)


def copies(learner):
    """The value of every weight on every replica."""
    for weight in learner.weights:
        yield [np.asarray(value) for value in getattr(weight.value, "values", [weight.value])]


SLOW = {"sequence_running", "maml_parts", "maml_support"}
KINDS = [pytest.param(k, marks=pytest.mark.slow) if k in SLOW else k for k in LEARNERS]


@pytest.mark.parametrize("kind", KINDS)
def test_two_replicas_equal_one(two_replicas, kind, tmp_path):
    one, two = compiled(LEARNERS[kind]), on(two_replicas, LEARNERS[kind])
    before = one.get_weights()
    histories = [m.fit(dataset(), epochs=2, verbose=0).history for m in (one, two)]
    for name in histories[0]:
        np.testing.assert_allclose(histories[1][name], histories[0][name], rtol=1e-5)
    for values, wanted in zip(copies(two), one.get_weights(), strict=True):
        assert len(values) == 2
        for value in values:
            np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-6)
    assert not np.allclose(one.get_weights()[0], before[0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(
        two.evaluate(dataset(), verbose=0), one.evaluate(dataset(), verbose=0), rtol=1e-5
    )
    # What was trained on two replicas loads and predicts without a strategy.
    two.save(tmp_path / "two.keras")
    loaded = keras.saving.load_model(tmp_path / "two.keras")
    inputs, _ = episodes()
    np.testing.assert_allclose(loaded(inputs), one(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"clipnorm": 1.0},
        {"global_clipnorm": 1.0},
        {"clipvalue": 0.1},
        {"gradient_accumulation_steps": 2},
    ],
)
def test_an_optimizer_that_keras_gets_wrong_on_replicas_is_refused(two_replicas, options):
    learner = on(two_replicas, prototypes, lambda: keras.optimizers.SGD(0.1, **options))
    (name,) = options
    with pytest.raises(ValueError, match=rf"must neither clip.*Received: {{'{name}'.*2 replicas"):
        learner.fit(dataset(), verbose=0)


def test_on_one_replica_it_is_taken():
    compiled(prototypes, keras.optimizers.SGD(0.1, clipnorm=1.0)).fit(dataset(), verbose=0)


@pytest.mark.parametrize("way", ["fit", "evaluate", "predict", "validation"])
def test_tasks_that_the_replicas_cannot_share(two_replicas, way):
    learner = on(two_replicas, prototypes)
    uneven = dataset(n_tasks=3, drop_remainder=True)
    with pytest.raises(ValueError, match=r"`n_tasks` must be a multiple .*\(2\).* n_tasks=3"):
        if way == "validation":
            learner.fit(dataset(), validation_data=uneven, verbose=0)
        else:
            getattr(learner, way)(uneven, verbose=0)


def test_arrays_that_the_replicas_cannot_share(two_replicas):
    with pytest.raises(ValueError, match="Received: n_tasks=3"):
        on(two_replicas, prototypes).fit(*episodes(), batch_size=3, verbose=0)


@pytest.mark.parametrize("way", ["fit", "evaluate", "predict"])
def test_several_steps_per_execution_are_refused(two_replicas, way):
    learner = on(two_replicas, prototypes, steps_per_execution=2)
    with pytest.raises(ValueError, match=r"one step at a time\. Received: steps_per_execution=2"):
        getattr(learner, way)(dataset(), verbose=0)


@pytest.mark.parametrize("way", ["fit", "evaluate"])
def test_a_last_batch_that_the_replicas_cannot_share(two_replicas, way):
    learner = on(two_replicas, prototypes)
    with pytest.raises(ValueError, match=r"drop_remainder=True.*Received: n_tasks = 3$"):
        getattr(learner, way)(dataset().unbatch().take(N_TASKS + 3).batch(N_TASKS), verbose=0)


def test_an_error_in_an_episode_leaves_strategies_usable(two_replicas):
    inputs, _ = episodes()
    with pytest.raises(ValueError, match="Use `MAML` for regression"):
        compiled(prototypes).fit(
            {**inputs, "support_y": np.zeros((12, 6, 3), "float32")},
            np.zeros((12, 5, 3), "float32"),
            verbose=0,
        )
    with two_replicas.scope():
        pass


NOT_FINITE = """
from test_two_replicas import *

# The last task of the second step: it is the second replica's.
inputs, query_y = episodes()
inputs["query_x"][2 * N_TASKS - 1, 0, 0] = np.nan
data = tf.data.Dataset.from_tensor_slices((inputs, query_y)).batch(N_TASKS)
wanted = compiled(LEARNERS["maml_running"])
wanted.fit(dataset().take(1), verbose=0)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
stopped = on(strategy, LEARNERS["maml_running"])
with pytest.raises(ValueError, match="not finite.* episodes.*107"):
    stopped.fit(data, verbose=0)
for values, good in zip(copies(stopped), wanted.get_weights(), strict=True):
    for value in values:
        np.testing.assert_allclose(value, good, rtol=0, atol=1e-6)
assert int(keras.ops.convert_to_numpy(stopped.optimizer.iterations)) == 1
"""


def test_what_is_not_finite_on_one_replica_stops_both_before_the_update():
    # A replica that stops leaves TensorFlow's collective operations unusable in its process.
    folders = [str(pathlib.Path(__file__).parents[k]) for k in (1, 0)]
    script = f"import sys; sys.path[:0] = {folders!r}; import conftest\n{NOT_FINITE}"
    subprocess.run([sys.executable, "-c", script], check=True)
