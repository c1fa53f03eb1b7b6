import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.feature_extraction.text import TfidfVectorizer

import tfmeta
from tfmeta.learners import MAML, PrototypicalNetwork
from tfmeta.models import text_cnn, text_ngrams, text_transformer, text_vectorization
from tfmeta.models.text_vectorization import with_own_vocabulary

TEXTS = [
    *("play a song now", "play it loud please", "a loud song"),
    *("wake me at six", "set an alarm for six", "alarm at nine"),
    *("what is the time", "tell me the time please", "the time now"),
]
QUERIES = tf.constant(["Play that SONG!", "Wake up at six?", "???", "", "zzz qqq"])
WORDS = ["play", "song", "the", "time", "alarm"]


def cnn(vocabulary=None, **options):
    vocabulary = vocabulary or text_vectorization(TEXTS, length=6)
    return text_cnn(vocabulary, embedding=6, filters=4, widths=(2, 3), **options)


def transformer(vocabulary=None, **options):
    vocabulary = vocabulary or text_vectorization(TEXTS, length=6)
    return text_transformer(vocabulary, embedding=8, n_heads=2, **options)


def ngrams(**options):
    return text_ngrams(TEXTS, features=8, max_ngrams=60, **options)


NETWORKS = pytest.mark.parametrize("build", [cnn, transformer, ngrams])


def episodes(n_tasks=2):
    examples = tfmeta.data.from_texts(TEXTS, np.repeat(np.arange(3), 3))
    return tfmeta.data.episode_dataset(examples, n_way=3, n_shot=1, n_query=2, n_tasks=n_tasks)


@NETWORKS
def test_raw_strings_go_in_and_come_back_from_a_file(build, tmp_path):
    network = build()
    outputs = network(QUERIES)
    assert outputs.shape == (5, network.output_shape[-1])
    assert np.isfinite(outputs).all()
    network.save(tmp_path / "network.keras")
    np.testing.assert_array_equal(
        keras.saving.load_model(tmp_path / "network.keras")(QUERIES), outputs
    )
    copy = type(network).from_config(network.get_config())
    copy.set_weights(network.get_weights())
    np.testing.assert_array_equal(copy(QUERIES), outputs)
    assert build(outputs=3).output_shape == (None, 3)
    assert build(outputs=3).layers[-1].name == "head"


@pytest.mark.parametrize(
    "build", [ngrams, *(pytest.param(b, marks=pytest.mark.slow) for b in (cnn, transformer))]
)
def test_a_learner_fits_saves_and_serves_raw_strings(build, tmp_path):
    learner = PrototypicalNetwork(build())
    learner.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"])
    before = [np.array(w) for w in learner.get_weights()]
    learner.fit(episodes(), steps_per_epoch=2, verbose=0)
    after = learner.get_weights()
    assert any(np.any(a != b) for a, b in zip(before, after, strict=True))
    inputs, _ = next(iter(episodes()))
    outputs = learner.predict(inputs, verbose=0)
    assert outputs.shape == (2, 6, 3)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.saving.load_model(tmp_path / "learner.keras")
    np.testing.assert_allclose(loaded(inputs), outputs, atol=1e-5)
    tfmeta.export_learner(learner, tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served")).signatures
    names = tf.constant(["music", "alarm", "time"])
    given = {key: inputs[key][0] for key in ("support_x", "support_y", "query_x")}
    answer = served["adapt_and_predict"](**given, class_names=names)
    np.testing.assert_allclose(answer["logits"], outputs[0], atol=1e-4)
    expected = names.numpy()[outputs[0].argmax(axis=-1)]
    np.testing.assert_array_equal(answer["class_name"], expected)


def test_the_head_of_a_text_network_adapts_by_gradients(tmp_path):
    learner = MAML(cnn(outputs=3, dropout=0.0), adapt="head", inner_steps=2, update_rule=0.5)
    learner.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"])
    learner.fit(episodes(), steps_per_epoch=1, verbose=0)
    inputs, _ = next(iter(episodes()))
    outputs = learner(inputs)
    tfmeta.export_learner(learner, tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served")).signatures["adapt_and_predict"]
    given = {key: inputs[key][0] for key in ("support_x", "support_y", "query_x")}
    answer = served(**given, class_names=tf.constant(["a", "b", "c"]))
    np.testing.assert_allclose(answer["logits"], outputs[0], atol=1e-4)


def test_arrays_of_strings_are_refused_with_the_cure():
    inputs, _ = next(iter(episodes()))
    with pytest.raises(ValueError, match=r"tf\.constant"):
        PrototypicalNetwork(cnn()).predict({k: np.asarray(x) for k, x in inputs.items()})
    pictures = PrototypicalNetwork(keras.Sequential([keras.Input(()), keras.layers.Reshape((1,))]))
    with pytest.raises(ValueError, match="Received: string"):
        pictures(inputs)


def test_cnn_computes_its_layers():
    network = text_cnn(WORDS, embedding=2, filters=3, widths=(1, 2), length=3)
    network.get_layer("embedding").set_weights([np.arange(14.0).reshape(7, 2)])
    kernels = [network.get_layer(f"convolution_{w}").get_weights() for w in (1, 2)]
    # "play", an unknown word (number 1) and padding; words of the list start at 2.
    x = np.array([[4.0, 5.0], [2.0, 3.0], [0.0, 0.0]])
    one = x @ kernels[0][0][0] + kernels[0][1]
    behind = np.concatenate([x[1:], np.zeros([1, 2])])
    two = x @ kernels[1][0][0] + behind @ kernels[1][0][1] + kernels[1][1]
    expected = np.concatenate([np.maximum(maps, 0.0).max(axis=0) for maps in (one, two)])
    np.testing.assert_allclose(network(tf.constant(["Play, quux!"]))[0], expected, rtol=1e-5)


def test_transformer_neither_attends_to_padding_nor_counts_it():
    short = text_transformer(WORDS, embedding=8, n_heads=2, n_blocks=2, length=3)
    long = text_transformer(WORDS, embedding=8, n_heads=2, n_blocks=2, length=9)
    weights = short.get_weights()
    places = [i for i, w in enumerate(short.weights) if "places" in w.path]
    for i in places:
        weights[i] = np.concatenate([weights[i], np.full([6, 8], 50.0, "float32")])
    long.set_weights(weights)
    texts = tf.constant(["play the song", "time", "the alarm"])
    np.testing.assert_allclose(long(texts), short(texts), rtol=1e-4, atol=1e-5)


def test_transformer_knows_the_order_of_words():
    outputs = transformer()(tf.constant(["play the time", "time the play"]))
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3


def test_untrained_ngrams_keep_the_angles_of_tfidf():
    network = text_ngrams(TEXTS, features=4096, scale=1.0)
    features = network(tf.constant(TEXTS)).numpy()
    exact = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4)).fit_transform(TEXTS)
    np.testing.assert_allclose(features @ features.T, (exact @ exact.T).toarray(), atol=0.15)


def test_ngrams_see_a_word_in_its_other_forms():
    network = text_ngrams(TEXTS, features=64)
    features = network(tf.constant(["alarms", "alarm", "songs"])).numpy()
    distances = np.linalg.norm(features - features[0], axis=1)
    assert distances[1] < distances[2]


@NETWORKS
def test_words_are_left_out_in_training_only(build):
    share = {"term_dropout" if build is ngrams else "word_dropout": 0.5}
    network = build(dropout=0.0, **share)
    texts = tf.constant(TEXTS)
    np.testing.assert_array_equal(network(texts), network(texts))
    assert np.abs(network(texts, training=True) - network(texts, training=True)).max() > 0


def test_a_copy_with_its_own_vocabulary_reads_as_the_layer_does():
    for mode in ("int", "tf_idf", "multi_hot"):
        layer = text_vectorization(TEXTS, length=6 if mode == "int" else None, output_mode=mode)
        copy = with_own_vocabulary(layer)
        copy = type(copy).from_config(copy.get_config() | {"standardize": "lower"})
        np.testing.assert_allclose(copy(TEXTS), layer(TEXTS), rtol=1e-6)


def test_a_vocabulary_is_made_from_the_given_texts_alone():
    layer = text_vectorization(TEXTS, length=4, max_tokens=8)
    assert layer.vocabulary_size() == 8
    assert {"the", "time"} <= set(layer.get_vocabulary())
    assert (
        "song" in text_vectorization(np.array([t.encode() for t in TEXTS], object)).get_vocabulary()
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: text_cnn([]), "Received: \\[\\]"),
        (lambda: text_cnn("play"), "list of words"),
        (lambda: text_cnn(keras.layers.TextVectorization()), "must be adapted"),
        (lambda: text_cnn(text_vectorization(TEXTS, length=None)), "output_sequence_length"),
        (lambda: text_cnn(WORDS, filters=0), "filters=0"),
        (lambda: text_cnn(WORDS, widths=(3, -1)), "widths\\[1\\]"),
        (lambda: text_transformer(WORDS, embedding=8, n_heads=3), "must divide"),
        (lambda: text_transformer(WORDS, n_blocks=0), "n_blocks=0"),
        (lambda: text_ngrams([]), "At least one text"),
        (lambda: text_ngrams(TEXTS, features=0), "features=0"),
    ],
)
def test_refuses(build, message):
    with pytest.raises(ValueError, match=message):
        build()
