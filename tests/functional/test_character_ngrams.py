import keras
import pytest
import tensorflow as tf
from sklearn.feature_extraction.text import CountVectorizer

from tfmeta.functional import character_ngrams

TEXTS = ["wake me at 6", "a", "", "für elise spielen", "  two   blanks "]


@pytest.mark.parametrize("sizes", [(3, 4), (2,)])
def test_runs_are_those_of_scikit_learn(sizes):
    split = CountVectorizer(analyzer="char_wb", ngram_range=(min(sizes), max(sizes)))
    split = split.build_analyzer()
    runs = character_ngrams(tf.constant(TEXTS), sizes).to_list()
    for text, found in zip(TEXTS, runs, strict=True):
        assert sorted(run.decode() for run in found) == sorted(x for x in split(text.lower()))


def test_a_vectorization_of_runs_comes_back_from_a_file(tmp_path):
    texts = ["wake me", "woken at six"]
    layer = keras.layers.TextVectorization(split=character_ngrams, output_mode="count")
    layer.adapt(tf.constant(texts))
    network = keras.Sequential([keras.Input((), dtype="string"), layer])
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    wanted, got = network(tf.constant(texts)), loaded(tf.constant(texts))
    assert wanted.shape[1] > 20
    assert bool(tf.reduce_all(wanted == got))
