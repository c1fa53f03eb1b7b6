"""Ranking of backbones, cross-validation, and the agreement with accuracies."""

import keras
import numpy as np
import pytest

import tfmeta
from tfmeta.cross_validation import stratified_folds
from tfmeta.intervals import share_interval
from tfmeta.ranking import BackboneRanking


def examples(n=60):
    draws = np.random.default_rng(0)
    y = np.arange(n) % 3
    x = draws.standard_normal((n, 6))
    x[:, :2] += 2.0 * np.stack([y == 1, y == 2], axis=1)
    return tfmeta.data.Examples(x.astype("float32"), y)


def backbone(columns):
    """Takes some columns of the examples; the classes are in the first two."""
    kernel = np.eye(6, dtype="float32")[:, columns]
    layer = keras.layers.Dense(len(columns), use_bias=False)
    model = keras.Sequential([keras.Input((6,)), layer])
    layer.set_weights([kernel])
    return model


BACKBONES = {"noise": [3, 4], "half": [0, 4], "good": [0, 1]}


@pytest.mark.parametrize("measure", ["log_me", "h_score"])
def test_the_better_the_features_the_higher_the_rank(measure):
    backbones = {name: backbone(columns) for name, columns in BACKBONES.items()}
    ranking = tfmeta.rank_backbones(backbones, examples(), measure=measure, probe=True)
    assert list(ranking.scores) == ["good", "half", "noise"]
    assert ranking.best == "good"
    assert ranking.accuracy["good"] > ranking.accuracy["noise"] + 0.2
    assert ranking.correlation == {"spearman": 1.0, "kendall": 1.0}
    assert ranking.correlation_interval == {}
    table = str(ranking).splitlines()
    assert table[1].startswith("good") and " ... " in table[1]
    low, high = ranking.interval["good"]
    assert low < ranking.accuracy["good"] < high
    assert "spearman correlation with the accuracy: 1.00, 3 backbones" in table


def test_accuracies_that_are_given(tmp_path):
    columns = [[3, 4], [0, 4], [0, 1], [0, 1, 3], [0, 2, 5]]
    backbones = {str(i): backbone(c) for i, c in enumerate(columns)}
    measured = {"0": 0.3, "1": 0.5, "2": 0.9, "3": 0.8, "4": 0.6}
    ranking = tfmeta.rank_backbones(
        backbones, examples(), measure="shrunk_h_score", measured=measured
    )
    assert ranking.accuracy == measured and ranking.interval == {}
    low, high = ranking.correlation_interval["spearman"]
    assert low < ranking.correlation["spearman"] < high
    ranking.to_json(tmp_path / "ranking.json")
    assert BackboneRanking.from_json(tmp_path / "ranking.json") == ranking
    with pytest.raises(ValueError, match="keys"):
        BackboneRanking.from_json('{"format": "tfmeta.EpisodeReport"}')


def test_bad_input():
    some = {"a": backbone([0])}
    with pytest.raises(ValueError, match="by name"):
        tfmeta.rank_backbones({}, examples())
    with pytest.raises(ValueError, match=r"'log_me'.*measure='nce'"):
        tfmeta.rank_backbones(some, examples(), measure="nce")
    with pytest.raises(ValueError, match="Received: both"):
        tfmeta.rank_backbones(some, examples(), measured={"a": 0.5}, probe=True)
    with pytest.raises(ValueError, match=r"\['b'\]"):
        tfmeta.rank_backbones(some, examples(), measured={"b": 0.5})


@pytest.mark.parametrize(("counts", "n_splits"), [((2, 3, 7), 5), ((4, 4), 4), ((9, 2), 2)])
def test_each_example_is_tested_once_and_each_class_always_trains(counts, n_splits):
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    folds = stratified_folds(y, n_splits)
    tested = np.concatenate([fold.test for fold in folds])
    np.testing.assert_array_equal(np.sort(tested), np.arange(len(y)))
    sizes = [len(fold.test) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    for fold in folds:
        assert set(y[fold.train]) == set(range(len(counts)))
        assert not set(fold.train) & set(fold.test)


def test_folds_of_bad_input():
    with pytest.raises(ValueError, match="n_splits=7"):
        stratified_folds(np.array([0, 0, 1, 1]), 7)
    with pytest.raises(ValueError, match="1 of class 1"):
        stratified_folds(np.array([0, 0, 1]), 2)


def test_the_interval_of_a_share():
    # Wilson's, from its formula: the shares p for which |8 / 10 - p| is z standard errors.
    share, low, high = share_interval(np.array([1] * 8 + [0] * 2))
    for end in (low, high):
        np.testing.assert_allclose(abs(0.8 - end), 1.959964 * np.sqrt(end * (1 - end) / 10), 1e-5)
    assert low < share == 0.8 < high
