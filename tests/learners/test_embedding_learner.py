"""One pass for all tasks equals each task by itself; features are computed once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.data import Examples, episode_dataset
from tfmeta.evaluation import evaluate_episodes
from tfmeta.learners import PrototypicalNetwork
from tfmeta.testing import gradcheck, in_float64

DRAWS = np.random.default_rng(0)
INPUTS = {
    "support_x": DRAWS.standard_normal((3, 6, 5, 5, 2)).astype("float32"),
    "support_y": np.array([[0, 0, 1, 1, 2, 2]] * 3),
    "query_x": DRAWS.standard_normal((3, 4, 5, 5, 2)).astype("float32"),
}
QUERY_Y = np.array([[0, 1, 2, 1]] * 3)


def make(engine, statistics="running", *layers, **options):
    keras.utils.set_random_seed(0)
    norms = [keras.layers.BatchNormalization(momentum=0.5) for _ in range(2)]
    body = [keras.layers.Conv2D(3, 3), norms[0], keras.layers.Activation("softplus"), *layers]
    head = [keras.layers.Flatten(), keras.layers.Dense(4), norms[1]]
    backbone = keras.Sequential([keras.Input((5, 5, 2)), *body, *head])
    learner = PrototypicalNetwork(backbone, engine=engine, statistics=statistics, **options)
    learner.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"])
    return learner


def outer_step(learner, dtype):
    inputs = {k: tf.cast(x, dtype if "x" in k else "int32") for k, x in INPUTS.items()}
    step = learner.outer_steps({**inputs, "query_y": tf.constant(QUERY_Y)})
    return [*step.gradients, *step.moments, step.loss, step.outputs]


@pytest.mark.parametrize("statistics", ["running", "support", "transductive"])
def test_one_pass_is_each_task_by_itself(statistics):
    mapped, vectorized = (make(engine, statistics) for engine in ("mapped", "vectorized"))
    assert vectorized.active_engine == "vectorized"
    np.testing.assert_allclose(vectorized(INPUTS), mapped(INPUTS), rtol=1e-6, atol=1e-6)
    logs = [m.evaluate(INPUTS, QUERY_Y, verbose=0, return_dict=True) for m in (mapped, vectorized)]
    np.testing.assert_allclose(list(logs[1].values()), list(logs[0].values()), rtol=1e-6)
    for got, wanted in zip(
        outer_step(in_float64(vectorized), "float64"),
        outer_step(in_float64(mapped), "float64"),
        strict=True,
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-10)
    for learner in (mapped, vectorized):
        learner.fit(INPUTS, QUERY_Y, batch_size=3, shuffle=False, verbose=0)
    for got, wanted in zip(vectorized.get_weights(), mapped.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("engine", ["mapped", "vectorized"])
def test_the_meta_gradient_is_right_by_either_engine(engine):
    assert gradcheck(make(engine), INPUTS, QUERY_Y) < 1e-6


def test_padding_trains_mapped_and_predicts_in_one_pass(caplog):
    learner, plain = make("vectorized"), make("mapped")
    masked = {**INPUTS, "support_mask": np.array([[True] * 5 + [False], [True] * 6, [True] * 6])}
    np.testing.assert_allclose(learner(masked), plain(masked), rtol=1e-6, atol=1e-6)
    assert not [r for r in caplog.records if "mapped" in r.message]
    learner.fit(masked, QUERY_Y, batch_size=3, verbose=0)
    assert "support_mask" in caplog.text


def test_dropout_in_one_pass_trains():
    learner = make("vectorized", "running", keras.layers.Dropout(0.5))
    losses = [float(outer_step(learner, "float32")[-2][0]) for _ in range(2)]
    assert losses[0] == losses[1]
    history = learner.fit(INPUTS, QUERY_Y, batch_size=3, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def labelled(n_classes=6, n=8):
    x = DRAWS.integers(0, 256, (n_classes * n, 5, 5, 2)).astype("uint8")
    names = [f"class {k}" for k in range(n_classes)]
    groups = [f"group {k % 2}" for k in range(n_classes)]
    return Examples(x, np.tile(np.arange(n_classes), n), class_names=names, groups=groups)


def test_features_are_those_of_the_backbone_with_classes_kept():
    learner, examples = make("mapped"), labelled()
    learner.fit(INPUTS, QUERY_Y, batch_size=3, verbose=0)
    features = learner.embed(examples, batch_size=20)
    wanted = learner.backbone(examples.x / np.float32(255), training=False)
    np.testing.assert_allclose(features.x, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(features.y, examples.y)
    assert (features.class_names, features.groups) == (examples.class_names, examples.groups)


@pytest.mark.parametrize("engine", ["mapped", "vectorized"])
def test_episodes_of_features_are_those_of_examples(engine):
    learner, examples = make(engine), labelled()
    options = {"n_way": 3, "n_shot": 2, "n_query": 2, "n_tasks": 4, "seed": 0}
    of_examples = episode_dataset(examples, **options)
    of_features = episode_dataset(learner.embed(examples), **options)
    heads = learner.on_features()
    inputs, _ = next(iter(of_examples))
    cached, _ = next(iter(of_features))
    np.testing.assert_allclose(heads(cached), learner(inputs), rtol=1e-4, atol=1e-4)
    reports = [
        evaluate_episodes(m, e, n_episodes=8)
        for m, e in ((learner, of_examples), (heads, of_features))
    ]
    np.testing.assert_array_equal(reports[0].per_episode, reports[1].per_episode)
    assert reports[1].statistics == "inductive"
    state = heads.adapt(cached["support_x"][0], cached["support_y"][0])
    logits = heads.predict_query(state, cached["query_x"][0])
    np.testing.assert_allclose(logits, heads(cached)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("statistics", ["support", "transductive"])
def test_features_that_depend_on_the_episode_are_not_computed_once(statistics):
    learner = make("mapped", statistics)
    with pytest.raises(ValueError, match='Use `statistics="running"`'):
        learner.embed(labelled())
    with pytest.raises(ValueError, match="do not depend on the episode"):
        learner.on_features()


def test_features_that_are_not_finite_are_refused():
    learner = make("mapped")
    support_x = INPUTS["support_x"][0].copy()
    support_x[2, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"must be finite.*2"):
        learner.adapt(support_x, INPUTS["support_y"][0])
    x = np.concatenate([support_x, INPUTS["query_x"][0]])
    with pytest.raises(ValueError, match="must be finite"):
        learner.embed(Examples(x, np.arange(10) % 2))


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="`engine` must be one of"):
        make("fast")
