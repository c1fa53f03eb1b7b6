import numpy as np
import pytest
import tensorflow as tf
from sklearn.feature_extraction.text import TfidfVectorizer

import tfmeta
from tfmeta.controls import TfidfNearestCentroid

TRAIN = ["play a song", "play it loud, please", "wake me at six", "set an alarm", "what time is it"]
SUPPORT = [["Play songs", "alarm me", "play jazz loudly", "alarms at six"]]
LABELS = [[0, 1, 0, 1]]
QUERIES = [["a song by ABBA", "wake me at seven", "set it", "???"]]


def inputs(**more):
    return {
        "support_x": tf.constant(SUPPORT),
        "support_y": tf.constant(LABELS),
        "query_x": tf.constant(QUERIES),
        **more,
    }


def reference(terms):
    """scikit-learn on the words of all texts, with the document frequencies of `TRAIN` alone."""
    options = {"analyzer": "char_wb", "ngram_range": (3, 4)}
    if terms == "words":
        options = {"token_pattern": r"\S+"}
    clean = {t: t.replace(",", "").replace("?", "") for t in (*TRAIN, *SUPPORT[0], *QUERIES[0])}
    vectorizer = TfidfVectorizer(**options).fit(clean.values())
    counts = vectorizer.transform([clean[t] for t in TRAIN]).toarray()
    frequencies = np.sum(counts > 0, axis=0)
    vectorizer.idf_ = np.log((1 + len(TRAIN)) / (1 + frequencies)) + 1
    support, queries = (
        vectorizer.transform([clean[t] for t in texts[0]]).toarray() for texts in (SUPPORT, QUERIES)
    )
    centroids = np.stack([support[np.equal(LABELS[0], k)].mean(axis=0) for k in (0, 1)])
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    return queries @ centroids.T


@pytest.mark.parametrize("terms", ["characters", "words"])
def test_logits_are_those_of_scikit_learn(terms):
    control = TfidfNearestCentroid(TRAIN, terms=terms)
    expected = reference(terms)
    np.testing.assert_allclose(control(inputs())[0], expected, atol=1e-6)
    assert expected[0].argmax() == 0 and expected[1].argmax() == 1
    np.testing.assert_array_equal(expected[3], 0.0)
    np.testing.assert_allclose(tf.function(control)(inputs())[0], expected, atol=1e-6)


def test_padding_and_absent_classes():
    both = {
        "support_x": tf.constant([SUPPORT[0], [*SUPPORT[0][:2], "", "padding"]]),
        "support_y": tf.constant([LABELS[0], [0, 0, 1, 1]]),
        "support_mask": tf.constant([[True] * 4, [True, True, False, False]]),
        "query_x": tf.constant(QUERIES * 2),
    }
    logits = TfidfNearestCentroid(TRAIN)(both).numpy()
    np.testing.assert_allclose(logits[0], reference("characters"), atol=1e-6)
    assert (logits[1, :, 1] == np.finfo("float32").min).all()
    assert np.isfinite(logits).all()


def test_it_is_evaluated_like_a_learner():
    texts = [f"{word} {i}" for word in ("alpha", "beta", "gamma") for i in range(6)]
    examples = tfmeta.data.from_texts(texts, np.repeat(np.arange(3), 6))
    episodes = tfmeta.data.episode_dataset(examples, n_way=3, n_shot=1, n_query=2, n_tasks=3)
    control = TfidfNearestCentroid(examples.x)
    report = tfmeta.evaluate_episodes(control, episodes.take(2), n_episodes=6)
    assert report.mean == 1.0
    assert report.name == "TF-IDF of characters, nearest centroid"


@pytest.mark.parametrize(("texts", "terms"), [([], "words"), (TRAIN, "letters")])
def test_refuses(texts, terms):
    with pytest.raises(ValueError, match=f"terms='{terms}', {len(texts)} texts"):
        TfidfNearestCentroid(texts, terms=terms)
