"""Siamese networks by hand."""

import keras
import numpy as np
import pytest

from tfmeta.learners import SiameseNetwork


def identity(size=1):
    """A backbone whose features are the examples."""
    network = keras.Sequential([keras.Input((size,)), keras.layers.Dense(size, use_bias=False)])
    network.set_weights([np.eye(size)])
    return network


def test_pair_scores_are_a_weighted_city_block_distance():
    learner = SiameseNetwork(identity(2))
    learner.similarity.set_weights([np.array([[-1.0], [0.5]]), np.array([2.0])])
    scores = learner.pair_scores(np.array([[1.0, 5.0]]), np.array([[4.0, 1.0], [1.0, 5.0]]))
    np.testing.assert_allclose(scores, [[-3.0 + 2.0 + 2.0, 2.0]])


@pytest.mark.parametrize(
    ("class_score", "wanted"), [("best", [-1.0, -3.0]), ("mean", [-4.0, -3.0])]
)
def test_a_class_has_the_best_or_the_mean_score_of_its_examples(class_score, wanted):
    learner = SiameseNetwork(identity(), pair_loss="contrastive", class_score=class_score)
    state = learner.adapt([[1.0], [7.0], [-3.0]], [0, 0, 1])
    np.testing.assert_allclose(learner.predict_query(state, [[0.0]]), [wanted])


def first_loss(sample_weight=None, **options):
    """The training loss of examples 0 and 3 (support, classes 0 and 1), 1 and 5 (query)."""
    learner = SiameseNetwork(identity(), **options)
    if options.get("pair_loss", "cross_entropy") == "cross_entropy":
        learner.similarity.set_weights([np.array([[-1.0]]), np.array([2.0])])
    learner.compile(keras.optimizers.SGD(0.0))
    inputs = {
        "support_x": np.array([[[0.0], [3.0]]], "float32"),
        "support_y": np.array([[0, 1]]),
        "query_x": np.array([[[1.0], [5.0]]], "float32"),
    }
    weight = None if sample_weight is None else np.array([sample_weight], "float32")
    return learner.fit(inputs, np.array([[0, 1]]), sample_weight=weight, verbose=0).history["loss"][
        0
    ]


# Pairs of one class: 0-1 and 3-5; of two: 0-3, 0-5, 3-1, 1-5.
SAME, OTHER = np.array([1.0, 2.0]), np.array([3.0, 5.0, 2.0, 4.0])


def test_the_cross_entropy_of_all_pairs():
    wanted = 0.5 * np.log1p(np.exp(SAME - 2.0)).mean() + 0.5 * np.log1p(np.exp(2.0 - OTHER)).mean()
    np.testing.assert_allclose(first_loss(), wanted, rtol=1e-5)


def test_the_contrastive_loss_of_all_pairs():
    beyond = np.maximum(4.5 - OTHER, 0.0)
    wanted = 0.5 * (0.5 * SAME**2).mean() + 0.5 * (0.5 * beyond**2).mean()
    got = first_loss(pair_loss="contrastive", margin=4.5)
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


# Anchors 0, 3, 1, 5: the other of the class, and the nearest of the other class.
POSITIVES, NEGATIVES = np.array([1.0, 2.0, 1.0, 2.0]), np.array([3.0, 2.0, 2.0, 4.0])


def test_the_triplet_loss_of_the_hardest_triplets():
    wanted = np.maximum(1.5 + POSITIVES - NEGATIVES, 0.0).mean()
    np.testing.assert_allclose(first_loss(pair_loss="triplet", margin=1.5), wanted, rtol=1e-5)
    soft = np.log1p(np.exp(POSITIVES - NEGATIVES)).mean()
    np.testing.assert_allclose(first_loss(pair_loss="triplet"), soft, rtol=1e-5)


def test_sample_weights_weigh_the_pairs_of_a_query():
    # The second query weighs 3: in the pairs 3-5, 0-5 and 1-5.
    same = np.log1p(np.exp(SAME - 2.0)) * [1.0, 3.0]
    other = np.log1p(np.exp(2.0 - OTHER)) * [1.0, 3.0, 1.0, 3.0]
    wanted = 0.5 * same.mean() + 0.5 * other.mean()
    np.testing.assert_allclose(first_loss([1.0, 3.0]), wanted, rtol=1e-5)


def test_the_default_margin_is_that_of_the_loss():
    margins = {
        loss: SiameseNetwork(identity(), pair_loss=loss).margin
        for loss in ("cross_entropy", "contrastive", "triplet")
    }
    assert margins == {"cross_entropy": None, "contrastive": 1.0, "triplet": "soft"}


def test_untrained_scores_prefer_the_nearer_example():
    learner = SiameseNetwork(identity())
    state = learner.adapt([[1.0], [9.0]], [0, 1])
    assert learner.predict_query(state, [[3.0]]).numpy().argmax() == 0
