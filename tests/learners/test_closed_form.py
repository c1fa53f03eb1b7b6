"""R2-D2 and MetaOptNet: their logits by hand, exact meta-gradients, hard support sets."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import Ridge

from tfmeta.learners import R2D2, MetaOptNet
from tfmeta.testing import gradcheck

DRAWS = np.random.default_rng(2)
HEADS = {
    "r2d2": R2D2,
    "svm": MetaOptNet,
    "ridge": lambda backbone, **options: MetaOptNet(backbone, head="ridge", **options),
}
each_head = pytest.mark.parametrize("head", HEADS)


def identity(size=6):
    """A backbone whose features are the examples."""
    network = keras.Sequential([keras.Input((size,)), keras.layers.Dense(size, use_bias=False)])
    network.set_weights([np.eye(size)])
    return network


def batch(n_tasks=2, n_way=3, n_shot=2, n_query=4):
    support_y = np.tile(np.repeat(np.arange(n_way), n_shot), (n_tasks, 1))
    inputs = {
        "support_x": DRAWS.standard_normal((n_tasks, n_way * n_shot, 6)).astype("float32"),
        "support_y": support_y.astype("int32"),
        "query_x": DRAWS.standard_normal((n_tasks, n_query, 6)).astype("float32"),
    }
    return inputs, DRAWS.integers(0, n_way, (n_tasks, n_query)).astype("int32")


@pytest.mark.parametrize(
    "learner",
    [
        R2D2(identity(), regularization=0.7, scale=3.0),
        MetaOptNet(identity(), head="ridge", regularization=0.7, scale=3.0),
    ],
)
def test_logits_are_those_of_ridge_regression(learner):
    inputs, _ = batch(1)
    x, y, query = inputs["support_x"][0], inputs["support_y"][0], inputs["query_x"][0]
    ridge = Ridge(alpha=0.7, fit_intercept=False).fit(x, np.eye(3)[y])
    wanted = 3.0 * ridge.predict(query)
    np.testing.assert_allclose(learner(inputs)[0], wanted, rtol=1e-4, atol=1e-5)


def test_logits_of_the_support_vector_machine_keep_the_margin():
    learner = MetaOptNet(identity(), C=100.0, scale=1.0)
    x = np.eye(6, dtype="float32")[[0, 1, 2]]
    state = learner.adapt(x, [0, 1, 2])
    logits = learner.predict_query(state, x).numpy()
    # Hard margin on orthonormal examples: w_k = x_k - (mean of x), up to a common vector.
    np.testing.assert_allclose(logits, np.eye(3) - 1 / 3, atol=1e-3)


@each_head
def test_the_meta_gradient_is_exact(head):
    network = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(5, activation="softplus"), keras.layers.Dense(8)]
    )
    learner = HEADS[head](network, scale=2.0)
    assert gradcheck(learner, *batch()) < 1e-5


def test_regularisation_and_scale_are_learned_and_stay_positive():
    learner = R2D2(identity(), regularization=0.01, scale=0.01)
    learner.compile(keras.optimizers.Adam(0.5))
    inputs, query_y = batch()
    learner.fit(inputs, query_y, batch_size=2, epochs=3, verbose=0)
    for variable in (learner.log_regularization, learner.log_scale):
        assert abs(float(variable) - np.log(0.01)) > 0.1
        assert np.exp(float(variable)) > 0.0


@each_head
def test_one_learner_serves_any_number_of_classes(head):
    learner = HEADS[head](identity())
    for n_way in (1, 2, 7):
        x = DRAWS.standard_normal((n_way, 6)).astype("float32")
        state = learner.adapt(x, np.arange(n_way))
        logits = learner.predict_query(state, x).numpy()
        assert logits.shape == (n_way, n_way) and np.isfinite(logits).all()
        if n_way == 2:
            np.testing.assert_array_equal(logits.argmax(axis=1), [0, 1])


@each_head
def test_identical_support_features_train_to_finite_weights(head):
    learner = HEADS[head](identity())
    learner.compile(keras.optimizers.SGD(0.01))
    inputs, query_y = batch()
    inputs["support_x"] = np.ones_like(inputs["support_x"])
    history = learner.fit(inputs, query_y, batch_size=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(w).all() for w in learner.get_weights())


@each_head
def test_the_error_of_features_that_are_not_finite_names_the_episode(head):
    learner = HEADS[head](identity())
    learner.compile("sgd")
    inputs, query_y = batch()
    inputs["support_x"][1, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"not finite.*episodes.*= 1, 0$"):
        learner.fit(inputs, query_y, batch_size=2, shuffle=False, verbose=0)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: R2D2(identity(), regularization=0.0), "regularization"),
        (lambda: R2D2(identity(), scale=-1.0), "scale"),
        (lambda: MetaOptNet(identity(), C=0), "C"),
        (lambda: MetaOptNet(identity(), head="ridge", regularization=0.0), "regularization"),
        (lambda: MetaOptNet(identity(), iterations=0), "iterations"),
        (lambda: MetaOptNet(identity(), head="tree"), "head"),
    ],
)
def test_arguments_are_checked(make, name):
    with pytest.raises(ValueError, match=f"`{name}` must be .*Received: {name}="):
        make()


def test_a_system_that_training_made_singular_is_an_error():
    learner = R2D2(identity())
    learner.log_regularization.assign(-200.0)
    inputs, query_y = batch()
    inputs["support_x"] = np.ones_like(inputs["support_x"])
    learner.compile("sgd")
    with pytest.raises(ValueError, match="Raise `regularization`"):
        learner.fit(inputs, query_y, batch_size=2, verbose=0)
    with pytest.raises(ValueError, match="Raise `regularization`"):
        learner.adapt(tf.ones([3, 6]), tf.range(3))
