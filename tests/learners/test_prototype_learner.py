"""Distances, temperatures, SimpleShot and transductive refinement, by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.data import Examples
from tfmeta.evaluation import evaluate_episodes
from tfmeta.learners import BaselinePlusPlus, PrototypicalNetwork, SimpleShot
from tfmeta.testing import gradcheck

DRAWS = np.random.default_rng(0)
SUPPORT = np.array([[0.0, 0.0], [2.0, 0.0], [5.0, 5.0]], "float32")
LABELS = np.array([0, 0, 1])


def identity(size=2):
    """A backbone whose features are the examples."""
    network = keras.Sequential([keras.Input((size,)), keras.layers.Dense(size, use_bias=False)])
    network.set_weights([np.eye(size)])
    return network


def logits(learner, query_x, support=(SUPPORT, LABELS)):
    return learner.predict_query(learner.adapt(*support), query_x).numpy()


# ----- distance and temperature -----------------------------------------------------------------


def test_a_temperature_divides_the_distances():
    by_number = PrototypicalNetwork(identity(), temperature=2.0)
    np.testing.assert_allclose(logits(by_number, [[1.0, 2.0]]), [[-2.0, -12.5]], rtol=1e-6)
    learned = PrototypicalNetwork(identity(), temperature="learned")
    np.testing.assert_allclose(logits(learned, [[1.0, 2.0]]), [[-4.0, -25.0]], rtol=1e-6)
    learned.log_scale.assign(np.log(3.0))
    np.testing.assert_allclose(logits(learned, [[1.0, 2.0]]), [[-12.0, -75.0]], rtol=1e-6)


def test_mahalanobis_starts_as_euclidean_and_weighs_features():
    learner = PrototypicalNetwork(identity(), distance="mahalanobis")
    np.testing.assert_allclose(logits(learner, [[1.0, 2.0]]), [[-4.0, -25.0]], rtol=1e-5)
    learner.raw_precision.assign(np.log(np.expm1([0.5, 2.0])))
    np.testing.assert_allclose(logits(learner, [[1.0, 2.0]]), [[-8.0, -26.0]], rtol=1e-5)


def episodes():
    inputs = {
        "support_x": DRAWS.standard_normal((2, 4, 3)).astype("float32"),
        "support_y": np.array([[0, 0, 1, 1]] * 2),
        "query_x": DRAWS.standard_normal((2, 3, 3)).astype("float32"),
    }
    return inputs, np.array([[0, 1, 1]] * 2)


MAKERS = {
    "mahalanobis": lambda net: PrototypicalNetwork(
        net, distance="mahalanobis", temperature="learned"
    ),
    "cosine": lambda net: PrototypicalNetwork(net, distance="cosine", temperature=0.1),
    "soft_kmeans": lambda net: PrototypicalNetwork(net, refinement="soft_kmeans"),
    "L2N": lambda net: SimpleShot(net, transform="L2N"),
    "baseline++": lambda net: BaselinePlusPlus(net, inner_steps=3),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_the_meta_gradient_is_right(kind):
    keras.utils.set_random_seed(0)
    body = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="tanh")])
    assert gradcheck(MAKERS[kind](body), *episodes()) < 1e-6


@pytest.mark.parametrize("kind", MAKERS)
def test_identical_support_features_and_one_class_give_finite_results(kind):
    learner = MAKERS[kind](identity())
    same = np.zeros((3, 2), "float32"), LABELS
    assert np.isfinite(logits(learner, [[1.0, 2.0], [0.0, 0.0]], same)).all()
    one = np.ones((2, 2), "float32"), np.zeros(2, int)
    assert logits(learner, [[1.0, 2.0]], one).shape == (1, 1)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_class_without_an_example_is_refused(kind):
    with pytest.raises(ValueError, match="an example of every class"):
        MAKERS[kind](identity()).adapt(SUPPORT, [0, 0, 2])


# ----- SimpleShot -------------------------------------------------------------------------------


def test_simple_shot_centers_and_normalises(tmp_path):
    learner = SimpleShot(identity())
    base = Examples(np.array([[1.0, 3.0], [3.0, 1.0]], "float32"), [0, 1])
    learner.set_center(base)

    def transformed(x):
        x = np.asarray(x) - 2.0
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    points, query = transformed(SUPPORT), transformed([[1.0, 4.0]])
    means = np.stack([points[:2].mean(axis=0), points[2]])
    wanted = -np.square(query - means).sum(axis=1)[np.newaxis]
    np.testing.assert_allclose(logits(learner, [[1.0, 4.0]]), wanted, rtol=1e-5)
    learner.save(tmp_path / "learner.keras")
    loaded = keras.saving.load_model(tmp_path / "learner.keras")
    np.testing.assert_array_equal(logits(loaded, [[1.0, 4.0]]), logits(learner, [[1.0, 4.0]]))


def test_simple_shot_without_a_center_says_so():
    with pytest.raises(ValueError, match="set_center"):
        SimpleShot(identity()).adapt(SUPPORT, LABELS)
    with pytest.raises(ValueError, match="Leave `set_center` out"):
        SimpleShot(identity(), transform="UN").set_center(Examples(SUPPORT, LABELS))


def test_simple_shot_untransformed_is_the_prototypical_network():
    wanted = logits(PrototypicalNetwork(identity()), SUPPORT)
    np.testing.assert_allclose(logits(SimpleShot(identity(), transform="UN"), SUPPORT), wanted)


# ----- Baseline++ -------------------------------------------------------------------------------


def test_baseline_steps_lower_the_loss_of_the_support():
    def support_loss(steps):
        learner = BaselinePlusPlus(identity(), inner_steps=steps, inner_rate=0.05)
        y = np.array([0, 1, 1])
        outputs = logits(learner, SUPPORT, (SUPPORT + 1.0, y))
        return float(keras.losses.sparse_categorical_crossentropy(y, outputs, True)[1])

    assert support_loss(20) < support_loss(1)


# ----- refinement -------------------------------------------------------------------------------


def test_soft_kmeans_by_hand():
    learner = PrototypicalNetwork(identity(1), refinement="soft_kmeans")
    support, queries = np.array([[0.0], [4.0]]), np.array([[1.0], [4.0]])
    z = np.exp(-np.square(queries - support.T))
    z /= z.sum(axis=1, keepdims=True)
    refined = (support + z.T @ queries) / (1.0 + z.sum(axis=0)[:, np.newaxis])
    wanted = -np.square(queries - refined.T)
    got = logits(learner, queries, (support.astype("float32"), np.array([0, 1])))
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def clouds(n_query=30):
    """Two clouds, and a support set that lies at their edges."""
    y = np.arange(n_query) % 2
    centres = np.array([[3.0, 0.4], [0.4, 3.0]])
    spread = 0.3 * np.random.default_rng(0).standard_normal((n_query, 2))
    query_x = (centres[y] + spread).astype("float32")
    support_x = np.array([[1.1, 2.0], [0.1, 3.0]], "float32")
    return {
        "support_x": support_x[None],
        "support_y": np.array([[0, 1]]),
        "query_x": query_x[None],
    }, y[None]


@pytest.mark.parametrize("refinement", ["soft_kmeans", "tim"])
def test_a_refinement_is_transductive_and_says_so(refinement):
    learner = PrototypicalNetwork(identity(), refinement=refinement, refinement_steps=5)
    assert learner.transductive and not learner.changes_classes
    batches = [clouds() for _ in range(2)]
    assert evaluate_episodes(learner, batches, n_episodes=2).statistics == "transductive"
    copy = PrototypicalNetwork.from_config(learner.get_config())
    assert (copy.refinement, copy.refinement_steps) == (refinement, 5)


def test_tim_finds_the_clouds_that_the_support_misses():
    inputs, query_y = clouds()
    plain = SimpleShot(identity(), transform="L2N")
    tim = SimpleShot(identity(), transform="L2N", refinement="tim")
    accuracies = [np.mean(m(inputs).numpy().argmax(-1) == query_y) for m in (plain, tim)]
    assert accuracies[1] == 1.0 and accuracies[0] <= accuracies[1]


def test_steps_need_a_refinement():
    with pytest.raises(ValueError, match="needs a `refinement`"):
        PrototypicalNetwork(identity(), refinement_steps=3)
    with pytest.raises(ValueError, match="`refinement` must be one of"):
        PrototypicalNetwork(identity(), refinement="k_means")


def test_tensors_of_the_head_count_examples():
    head = PrototypicalNetwork(identity()).adapt(SUPPORT, LABELS).head
    np.testing.assert_array_equal(head.counts, [2, 1])
    assert head.support == () and isinstance(head.prototypes, tf.Tensor)
