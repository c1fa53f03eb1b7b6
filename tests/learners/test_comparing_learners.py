"""What is promised of Matching, Relation and Siamese networks and of FEAT alike."""

import keras
import numpy as np
import pytest

from tfmeta.learners import FEAT, MatchingNetwork, RelationNetwork, SiameseNetwork
from tfmeta.testing import gradcheck

DRAWS = np.random.default_rng(0)


def vectors():
    norm = keras.layers.BatchNormalization()
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="tanh"), norm])


def maps():
    reshape = keras.layers.Reshape((2, 2, 1))
    convolution = keras.layers.Conv2D(2, 2, padding="same", activation="tanh")
    return keras.Sequential([keras.Input((4,)), reshape, convolution])


LEARNERS = {
    "matching": lambda: MatchingNetwork(vectors()),
    "matching_full_context": lambda: MatchingNetwork(
        vectors(), full_context=True, processing_steps=2
    ),
    "relation": lambda: RelationNetwork(vectors()),
    "relation_maps": lambda: RelationNetwork(maps(), relation_loss="cross_entropy"),
    "siamese": lambda: SiameseNetwork(vectors()),
    "siamese_contrastive": lambda: SiameseNetwork(
        vectors(), pair_loss="contrastive", class_score="mean"
    ),
    "siamese_triplet": lambda: SiameseNetwork(vectors(), pair_loss="triplet"),
    "feat": lambda: FEAT(vectors(), heads=2, temperature=2.0),
}
SLOW = {"relation_maps"}
KINDS = [pytest.param(k, marks=pytest.mark.slow) if k in SLOW else k for k in LEARNERS]
every_learner = pytest.mark.parametrize("kind", KINDS)


def make(kind):
    keras.utils.set_random_seed(0)
    return LEARNERS[kind]()


@every_learner
def test_another_numbering_of_the_classes_permutes_the_logits(kind):
    learner = make(kind)
    support_x, query_x = DRAWS.random((6, 4), "float32"), DRAWS.random((5, 4), "float32")
    support_y, numbers = np.array([0, 0, 1, 1, 2, 2]), np.array([2, 0, 1])
    logits = learner.predict_query(learner.adapt(support_x, support_y), query_x)
    turned = learner.predict_query(learner.adapt(support_x, numbers[support_y]), query_x)
    assert np.ptp(logits) > 1e-3
    np.testing.assert_allclose(turned.numpy()[:, numbers], logits, rtol=1e-4, atol=1e-5)


@every_learner
def test_one_learner_serves_any_number_of_classes(kind):
    learner = make(kind)
    for n_way in (1, 2, 7):
        state = learner.adapt(DRAWS.random((n_way, 4), "float32"), np.arange(n_way))
        logits = learner.predict_query(state, DRAWS.random((3, 4), "float32"))
        assert logits.shape == (3, n_way)
        assert np.isfinite(logits).all()


@every_learner
def test_identical_support_features_give_finite_results_and_gradients(kind):
    learner = make(kind)
    learner.compile(keras.optimizers.SGD(0.1))
    inputs = {
        "support_x": np.ones((1, 4, 4), "float32"),
        "support_y": np.array([[0, 0, 1, 1]]),
        "query_x": np.ones((1, 3, 4), "float32"),
    }
    assert np.isfinite(learner(inputs)).all()
    learner.fit(inputs, np.array([[0, 1, 1]]), verbose=0)
    assert all(np.isfinite(w).all() for w in learner.get_weights())


@every_learner
def test_the_meta_gradient_is_that_of_finite_differences(kind):
    learner = make(kind)
    inputs = {
        "support_x": DRAWS.standard_normal((1, 4, 4)),
        "support_y": np.array([[0, 0, 1, 1]]),
        "query_x": DRAWS.standard_normal((1, 3, 4)),
    }
    assert gradcheck(learner, inputs, np.array([[0, 1, 1]])) < 1e-6


@every_learner
def test_a_missing_class_and_a_regression_are_refused(kind):
    learner = make(kind)
    support_x = DRAWS.random((2, 4), "float32")
    with pytest.raises(Exception, match="an example of every class"):
        learner.adapt(support_x, np.array([0, 2]))
    with pytest.raises(ValueError, match="classifies"):
        learner.adapt(support_x, np.ones((2, 1), "float32"))


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: MatchingNetwork(vectors(), temperature=0.0), "`temperature` must be a positive"),
        (lambda: MatchingNetwork(vectors(), processing_steps=0), "`processing_steps` must be"),
        (lambda: MatchingNetwork(maps()), "End it with a Flatten"),
        (lambda: RelationNetwork(vectors(), relation_loss="mse"), "relation_loss='mse'"),
        (lambda: RelationNetwork(vectors(), class_features="max"), "class_features='max'"),
        (lambda: SiameseNetwork(vectors(), pair_loss="hinge"), "pair_loss='hinge'"),
        (lambda: SiameseNetwork(vectors(), margin=1.0), "Leave it out"),
        (lambda: SiameseNetwork(vectors(), pair_loss="contrastive", margin="soft"), "`margin`"),
        (lambda: SiameseNetwork(vectors(), pair_loss="triplet", margin=-1.0), "`margin` must be"),
        (lambda: SiameseNetwork(vectors(), class_score="worst"), "class_score='worst'"),
        (lambda: FEAT(vectors(), heads=0), "`heads` must be a positive integer"),
        (lambda: FEAT(vectors(), dropout=1.0), "dropout=1.0"),
        (lambda: FEAT(vectors(), balance=-0.1), "balance=-0.1"),
        (lambda: FEAT(vectors(), temperature=None), "`temperature` must be a positive number"),
    ],
)
def test_options_out_of_range_are_refused(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it()
