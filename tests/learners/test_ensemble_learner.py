"""Ensembles of learners: weights from the support set, evaluation, saving and export."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta import evaluate_episodes, export_learner
from tfmeta.learners import MAML, EnsembleLearner, MatchingNetwork, PrototypicalNetwork

N_WAY = 3


def backbone(seed=0, *head):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(6), keras.layers.BatchNormalization(), *head]
    return keras.Sequential([keras.Input((4,)), *layers])


def looks_at(*features):
    """A prototypical network that sees some of the four numbers of an example."""
    mask = np.isin(np.arange(4), features).astype("float32")
    layers = [keras.Input((4,)), keras.layers.Rescaling(mask.tolist())]
    return PrototypicalNetwork(keras.Sequential(layers))


def members():
    maml = MAML(backbone(0, keras.layers.Dense(N_WAY)), inner_steps=2, update_rule=0.1)
    return [maml, PrototypicalNetwork(backbone(1)), MatchingNetwork(backbone(2))]


def episode(n_shot=3, n_query=5, *, n_tasks=None, seed=0):
    """Classes along the first number; the others are noise."""
    draws = np.random.default_rng(seed)

    def examples(n):
        y = np.tile(np.repeat(np.arange(N_WAY), n), (n_tasks or 1, 1))
        x = 0.5 * draws.standard_normal((*y.shape, 4))
        x[..., 0] += 2.0 * y
        return x.astype("float32"), y.astype("int32")

    (support_x, support_y), (query_x, query_y) = examples(n_shot), examples(n_query)
    inputs = {"support_x": support_x, "support_y": support_y, "query_x": query_x}
    if n_tasks is None:
        inputs, query_y = {k: v[0] for k, v in inputs.items()}, query_y[0]
    return inputs, query_y


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)


def test_uniform_weights_give_the_mean_of_the_probabilities():
    inputs, _ = episode()
    learners = members()
    ensemble = EnsembleLearner(learners, weighting="uniform")
    state = ensemble.adapt(inputs["support_x"], inputs["support_y"])
    each = []
    for learner in learners:
        own = learner.adapt(inputs["support_x"], inputs["support_y"])
        each.append(softmax(learner.predict_query(own, inputs["query_x"]).numpy()))
    found = np.exp(ensemble.predict_query(state, inputs["query_x"]))
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("weighting", ["likelihood", "accuracy"])
def test_weights_are_those_of_leaving_out_by_hand(weighting):
    inputs, _ = episode()
    x, y = inputs["support_x"], inputs["support_y"]
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    learners = [looks_at(0), looks_at(1), looks_at(0, 1, 2, 3)]
    found = EnsembleLearner(learners, weighting=weighting).adapt(x, y).weights
    rank = np.array([np.sum(y[:i] == y[i]) for i in range(len(y))])
    scores = np.zeros(3)
    for shot in range(3):
        kept, held = rank != shot, rank == shot
        for m, learner in enumerate(learners):
            logits = learner.predict_query(learner.adapt(x[kept], y[kept]), x[held]).numpy()
            p = softmax(logits)[np.arange(N_WAY), y[held]]
            right = np.sum(logits.argmax(axis=1) == y[held])
            scores[m] += np.log(p).sum() if weighting == "likelihood" else right
    wanted = softmax(scores) if weighting == "likelihood" else (scores + 1) / (scores + 1).sum()
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    assert found[0] > 2 * found[1]


@pytest.mark.parametrize("weighting", ["likelihood", "accuracy"])
def test_one_shot_leaves_the_weights_equal(weighting):
    inputs, _ = episode(n_shot=1)
    ensemble = EnsembleLearner(members(), weighting=weighting)
    state = ensemble.adapt(inputs["support_x"], inputs["support_y"])
    np.testing.assert_allclose(state.weights, 1 / 3, rtol=1e-6)


def test_the_support_finds_the_learner_that_sees_the_classes():
    episodes = [episode(n_tasks=4, seed=seed) for seed in range(3)]
    learners = [looks_at(1, 2, 3), looks_at(0)]
    means = {
        name: evaluate_episodes(learner, episodes, n_episodes=12).mean
        for name, learner in {
            "blind": learners[0],
            "sees": learners[1],
            "uniform": EnsembleLearner(learners, weighting="uniform"),
            "weighted": EnsembleLearner(learners),
        }.items()
    }
    assert means["blind"] < 0.6 < 0.85 < means["weighted"]
    assert means["weighted"] >= means["sees"] - 0.02
    assert means["weighted"] >= means["uniform"]


def test_a_padded_support_is_the_unpadded_one():
    (inputs, _), ensemble = episode(), EnsembleLearner(members())
    x, y = inputs["support_x"], inputs["support_y"]
    wanted = ensemble.adapt(x, y)
    mask = np.insert(np.ones(len(y), bool), [1, 5], False)
    padded = np.insert(x, [1, 5], 99.0, axis=0), np.insert(y, [1, 5], 2)
    found = ensemble.adapt(*padded, tf.constant(mask))
    np.testing.assert_allclose(found.weights, wanted.weights, rtol=1e-5)


def test_the_call_the_evaluation_and_the_round_trip(tmp_path):
    inputs, query_y = episode(n_tasks=2)
    ensemble = EnsembleLearner(members(), folds=2)
    outputs = ensemble(inputs)
    assert outputs.shape == (2, 15, N_WAY)
    one = ensemble.adapt(inputs["support_x"][1], inputs["support_y"][1])
    found = ensemble.predict_query(one, inputs["query_x"][1])
    np.testing.assert_allclose(found, outputs[1], rtol=1e-4, atol=1e-5)
    ensemble.compile(metrics=["accuracy"])
    logs = ensemble.evaluate(inputs, query_y, verbose=0, return_dict=True)
    right = np.mean(np.argmax(outputs, axis=-1) == query_y)
    assert logs["accuracy"] == pytest.approx(right)
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.saving.load_model(tmp_path / "ensemble.keras")
    assert (loaded.weighting, loaded.folds) == ("likelihood", 2)
    np.testing.assert_allclose(loaded(inputs), outputs, rtol=1e-6)


@pytest.mark.parametrize("weighting", ["likelihood", "uniform"])
def test_the_export_repeats_it(weighting, tmp_path):
    # With a learner of free ways alone, so that the export takes any number of classes.
    learners = [looks_at(0), PrototypicalNetwork(backbone())]
    ensemble = EnsembleLearner(learners, weighting=weighting)
    path = export_learner(ensemble, tmp_path / "served")
    inputs, _ = episode()
    names = tf.constant(["a", "b", "c"])
    served = tf.saved_model.load(path).signatures["adapt_and_predict"]
    found = served(class_names=names, **{k: tf.constant(v) for k, v in inputs.items()})["logits"]
    state = ensemble.adapt(inputs["support_x"], inputs["support_y"])
    wanted = ensemble.predict_query(state, inputs["query_x"])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_transductive_member_makes_it_transductive():
    other = PrototypicalNetwork(backbone(), statistics="transductive")
    assert EnsembleLearner([looks_at(0), other]).transductive
    assert not EnsembleLearner([looks_at(0)]).transductive


def test_bad_ensembles():
    with pytest.raises(ValueError, match="at least one tfmeta learner"):
        EnsembleLearner([])
    with pytest.raises(ValueError, match="weighting"):
        EnsembleLearner([looks_at(0)], weighting="best")
    with pytest.raises(ValueError, match="folds=1"):
        EnsembleLearner([looks_at(0)], folds=1)
    other = PrototypicalNetwork(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    with pytest.raises(ValueError, match="same examples"):
        EnsembleLearner([looks_at(0), other])
    ensemble = EnsembleLearner([looks_at(0)])
    with pytest.raises(ValueError, match="does not train"):
        ensemble.fit({}, None)
    with pytest.raises(ValueError, match="class numbers"):
        ensemble.adapt(tf.zeros([3, 4]), tf.zeros([3, 1]))
