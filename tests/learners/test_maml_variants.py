"""MAML++, Proto-MAML and learned rules: each against what it must be equal to."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta.functional import class_means
from tfmeta.inner_loop import LayerStepRates, MetaCurvature, MetaSGD
from tfmeta.learners import MAML

DRAWS = np.random.default_rng(2)


def network(outputs=3):
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, name="body"),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("softplus"),
            keras.layers.Dense(outputs, name="head"),
        ]
    )


def episodes(n_way=3, n_tasks=2, n_shot=2):
    support_y = np.tile(np.repeat(np.arange(n_way), n_shot), (n_tasks, 1)).astype("int32")
    query_y = np.tile(np.arange(n_way), (n_tasks, 2)).astype("int32")
    inputs = {
        "support_x": DRAWS.standard_normal((n_tasks, n_way * n_shot, 4)).astype("float32"),
        "support_y": support_y,
        "query_x": DRAWS.standard_normal((n_tasks, 2 * n_way, 4)).astype("float32"),
    }
    return inputs, query_y


def trained_weights(steps=1, **options):
    learner = MAML(network(), update_rule=0.1, inner_steps=2, **options)
    learner.compile(keras.optimizers.SGD(0.5))
    data = trained_weights.data
    for _ in range(steps):
        learner.train_on_batch(*data)
    return learner.get_weights()


trained_weights.data = episodes()


def assert_same(got, wanted, *, same=True):
    close = [np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(got, wanted, strict=True)]
    assert all(close) if same else not all(close)


def test_annealing_is_first_order_and_then_second():
    first, second = trained_weights(order=1), trained_weights(order=2)
    assert_same(first, second, same=False)
    assert_same(trained_weights(order="anneal", anneal_steps=1), first)
    annealed = trained_weights(2, order="anneal", anneal_steps=1)
    assert_same(annealed, trained_weights(2, order=1), same=False)
    learner = MAML(network(), update_rule=0.1, inner_steps=2, order=2)
    learner.set_weights(first)
    learner.compile(keras.optimizers.SGD(0.5))
    learner.train_on_batch(*trained_weights.data)
    assert_same(annealed, learner.get_weights())


def test_the_multi_step_loss_is_the_weighted_sum_over_the_steps():
    inputs, query_y = trained_weights.data
    learner = MAML(network(), update_rule=0.1, inner_steps=2, multi_step_loss=10)
    learner.compile(keras.optimizers.SGD(0.0))
    losses = []
    for task in range(2):
        states = learner.adapt_path(inputs["support_x"][task], inputs["support_y"][task])
        for state in states[1:]:
            logits = learner.predict_query(state, inputs["query_x"][task])
            loss = keras.losses.sparse_categorical_crossentropy(
                query_y[task], logits, from_logits=True
            )
            losses.append(np.mean(loss))
    wanted = np.reshape(losses, (2, 2)) @ [0.5, 0.5]
    got = np.ravel(learner.train_on_batch(inputs, query_y))[0]
    np.testing.assert_allclose(got, wanted.mean(), rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"update_rule": MetaSGD(0.1)},
        {"update_rule": LayerStepRates(0.1)},
        {"update_rule": MetaCurvature(0.1)},
        {"update_rule": 0.1, "multi_step_loss": 5},
        {"update_rule": 0.1, "head_init": "prototypes"},
        {"update_rule": LayerStepRates(0.1), "head_init": "prototypes", "adapt": "head"},
        {"update_rule": 0.1, "adapt": "body"},
        {"update_rule": tfmeta.inner_loop.Adam(0.05)},
    ],
    ids=str,
)
def test_the_meta_gradient_agrees_with_finite_differences(options):
    learner = MAML(network(), inner_steps=2, **options)
    assert tfmeta.gradcheck(learner, *episodes()) < 1e-6


def test_what_a_rule_learns_moves_in_fit_and_is_saved(tmp_path):
    learner = MAML(network(), update_rule=MetaSGD(0.1), inner_steps=2)
    learner.compile(keras.optimizers.Adam(0.01))
    before = [r.numpy() for r in learner.update_rule.rates]
    learner.fit(*episodes(), verbose=0)
    after = [r.numpy() for r in learner.update_rule.rates]
    moved = [np.abs(a - b).max() > 1e-4 for a, b in zip(after, before, strict=True)]
    # A bias before a batch normalisation changes nothing, and so has its rate no gradient.
    assert moved == [True, False, True, True, True, True]
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    for got, wanted in zip(loaded.update_rule.rates, after, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_without_inner_progress_a_prototype_head_is_the_nearest_class_mean():
    inputs, _ = episodes(n_way=5)
    learner = MAML(network(), update_rule=1e-12, inner_steps=1, head_init="prototypes")
    x, y, query_x = (inputs[key][0] for key in ("support_x", "support_y", "query_x"))
    logits = learner.predict_query(learner.adapt(x, y), query_x)
    assert logits.shape == (10, 5)
    backbone = keras.Model(learner.network.inputs, learner.network.layers[-1].input)
    mean, variance = (
        np.asarray(backbone.layers[1](x)).mean(0),
        np.asarray(backbone.layers[1](x)).var(0),
    )
    backbone.layers[2].moving_mean.assign(mean)
    backbone.layers[2].moving_variance.assign(variance)
    features, queries = np.asarray(backbone(x)), np.asarray(backbone(query_x))
    means = np.asarray(class_means(tf.constant(features), tf.constant(y), 5))
    distances = np.square(queries[:, None] - means[None]).sum(-1)
    wanted = -distances + np.square(queries).sum(-1, keepdims=True)
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4)


def test_a_prototype_head_trains_and_evaluates_at_several_ways():
    learner = MAML(network(), update_rule=0.05, inner_steps=2, head_init="prototypes")
    learner.compile(keras.optimizers.Adam(0.01), metrics=["accuracy"])
    for n_way in (2, 5):
        data = episodes(n_way=n_way)
        learner.fit(*data, epochs=2, verbose=0)
        assert learner.predict(data[0], verbose=0).shape == (2, 2 * n_way, n_way)


def test_rates_of_the_weights_shape_fix_the_number_of_classes():
    learner = MAML(network(), update_rule=MetaSGD(0.1), head_init="prototypes")
    learner.compile()
    with pytest.raises(ValueError, match="n_way"):
        learner.train_on_batch(*episodes(n_way=5))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"order": "anneal"}, "`anneal_steps`"),
        ({"anneal_steps": 3}, "`anneal_steps`"),
        ({"order": 3}, "`order` must be one of"),
        ({"multi_step_loss": 0}, "`multi_step_loss` must be a positive integer"),
        ({"head_init": "zeros"}, "`head_init` must be one of"),
        ({"head_init": "prototypes", "adapt": "body"}, "a head that the inner loop adapts"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        MAML(network(), **options)


def test_a_prototype_head_needs_a_linear_head_and_classes():
    ends_in_softmax = keras.Sequential([network(), keras.layers.Softmax()])
    with pytest.raises(ValueError, match="last layer is `Dense`"):
        MAML(ends_in_softmax, head_init="prototypes")
    learner = MAML(network(), head_init="prototypes")
    with pytest.raises(ValueError, match="needs classes"):
        learner.adapt(np.zeros((2, 4), "float32"), np.zeros((2, 3), "float32"))


def test_recomputed_inner_steps_give_the_same_training():
    for options in ({"update_rule": tfmeta.inner_loop.Adam(0.05)}, {"adapt": "head"}):
        options = {"update_rule": 0.1, "inner_steps": 3, **options}
        weights = []
        for checkpoint_inner in (False, True):
            learner = MAML(network(), checkpoint_inner=checkpoint_inner, **options)
            learner.compile(keras.optimizers.SGD(0.5))
            learner.train_on_batch(*trained_weights.data)
            weights.append(learner.get_weights())
        assert_same(*weights)


def test_every_inner_step_gathers_statistics_of_its_own():
    learner = MAML(
        network(), update_rule=0.3, inner_steps=2, statistics="running", per_step_statistics=True
    )
    learner.compile(keras.optimizers.SGD(0.0))
    inputs, query_y = trained_weights.data
    learner.train_on_batch(inputs, query_y)
    norm = learner.network.layers[1]
    np.testing.assert_array_equal(norm.moving_mean, np.zeros(6))
    means = []
    for task in range(2):
        plain = MAML(network(), update_rule=0.3, inner_steps=2, statistics="transductive")
        path = plain.adapt_path(inputs["support_x"][task], inputs["support_y"][task])
        bodies = [(np.asarray(s.weights[0]), np.asarray(s.weights[1])) for s in path]
        means.append([(inputs["query_x"][task] @ w + b).mean(0) for w, b in bodies])
    wanted = 0.01 * np.mean(means, axis=0)
    np.testing.assert_allclose(learner._step_statistics[0], wanted, rtol=1e-4, atol=1e-7)
    assert np.abs(wanted[0] - wanted[2]).max() > 1e-4
    state = learner.adapt(inputs["support_x"][0], inputs["support_y"][0])
    np.testing.assert_allclose(state.moments[0], wanted[2], rtol=1e-4, atol=1e-7)


def test_statistics_of_steps_need_moving_averages():
    with pytest.raises(ValueError, match='needs `statistics="running"`'):
        MAML(network(), per_step_statistics=True)


def test_a_rule_that_learns_belongs_to_one_learner():
    rule = MetaSGD(0.1)
    MAML(network(), update_rule=rule)
    with pytest.raises(ValueError, match="belongs to one learner"):
        MAML(network(), update_rule=rule)
