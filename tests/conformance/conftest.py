"""Episodes and learners that the promises are tested on."""

import keras
import numpy as np
import pytest

from tfmeta.data import Examples
from tfmeta.inner_loop import LayerStepRates, LSTMOptimizerRule, MetaSGD
from tfmeta.learners import (
    FEAT,
    MAML,
    R2D2,
    BaselinePlusPlus,
    ImplicitMAML,
    MatchingNetwork,
    MetaLSTM,
    MetaOptNet,
    PrototypicalNetwork,
    RelationNetwork,
    Reptile,
    SequenceLearner,
    SiameseNetwork,
    SimpleShot,
)
from tfmeta.models.memory import DNC, MANN, SNAIL

N_WAY, N_QUERY = 3, 4


def backbone(*head):
    norm = keras.layers.BatchNormalization(momentum=0.5)
    layers = [keras.layers.Dense(6), norm, keras.layers.Activation("softplus"), *head]
    return keras.Sequential([keras.Input((4,)), *layers])


def maml(learner=MAML, **options):
    options = {"inner_steps": 2, "update_rule": 0.1, **options}
    return learner(backbone(keras.layers.Dense(N_WAY)), **options)


def recurrent():
    inputs = keras.Input((4,))
    x = keras.layers.BatchNormalization(momentum=0.5)(keras.layers.Reshape((2, 2))(inputs))
    x, *_ = keras.layers.LSTM(4, use_cudnn=False, return_state=True, name="lstm")(x)
    return keras.Model(inputs, keras.layers.Dense(2)(x))


def centered(learner):
    draws = np.random.default_rng(0)
    learner.set_center(Examples(draws.standard_normal((8, 4)).astype("float32"), [0, 1] * 4))
    return learner


def sequence(core, **options):
    return SequenceLearner(backbone(), core, n_way=N_WAY, **options)


LEARNERS = {
    "maml_support": lambda: maml(),
    "maml_transductive": lambda: maml(order=1, statistics="transductive"),
    "maml_running": lambda: maml(statistics="running"),
    "maml_regression": lambda: MAML(
        backbone(keras.layers.Dense(2)), inner_steps=2, update_rule=0.1, evaluation_steps=3
    ),
    "maml_meta_sgd": lambda: maml(update_rule=MetaSGD(0.1), adapt="head"),
    "maml_plus_plus": lambda: maml(
        order="anneal", anneal_steps=3, multi_step_loss=6, update_rule=LayerStepRates(0.1)
    ),
    "maml_in_parts": lambda: maml(engine="vectorized", tasks_at_once=2, checkpoint_inner=True),
    "maml_prototypes": lambda: maml(head_init="prototypes", update_rule=0.02),
    "maml_reptile": lambda: maml(Reptile),
    "maml_meta_lstm_support": lambda: maml(MetaLSTM),
    "maml_meta_lstm_running": lambda: maml(MetaLSTM, order=2, statistics="running"),
    "maml_lstm_over_lstm_regression": lambda: MetaLSTM(
        recurrent(), memory="lstm", inner_steps=2, update_rule=0.1, evaluation_steps=3
    ),
    "maml_learned_optimizer_support": lambda: maml(update_rule=LSTMOptimizerRule(4)),
    "maml_implicit_running": lambda: maml(ImplicitMAML, statistics="running", adapt="head"),
    "prototypes_support": lambda: PrototypicalNetwork(
        backbone(), statistics="support", distance="cosine"
    ),
    "prototypes_transductive": lambda: PrototypicalNetwork(backbone(), statistics="transductive"),
    "prototypes_running": lambda: PrototypicalNetwork(backbone()),
    "prototypes_mahalanobis_running": lambda: PrototypicalNetwork(
        backbone(), distance="mahalanobis", temperature="learned"
    ),
    "prototypes_vectorized_support": lambda: PrototypicalNetwork(
        backbone(), engine="vectorized", statistics="support"
    ),
    "prototypes_soft_kmeans_transductive": lambda: PrototypicalNetwork(
        backbone(), refinement="soft_kmeans", statistics="transductive"
    ),
    "simple_shot_running": lambda: SimpleShot(backbone(), transform="L2N"),
    "simple_shot_centered_running": lambda: centered(SimpleShot(backbone())),
    "baseline_plus_plus_running": lambda: BaselinePlusPlus(backbone(), inner_steps=3),
    "r2d2_running": lambda: R2D2(backbone()),
    "meta_opt_net_running": lambda: MetaOptNet(backbone()),
    "meta_opt_net_ridge": lambda: MetaOptNet(backbone(), head="ridge", statistics="support"),
    "matching_running": lambda: MatchingNetwork(backbone()),
    "matching_full_context_support": lambda: MatchingNetwork(
        backbone(), full_context=True, processing_steps=2, statistics="support"
    ),
    "relation_running": lambda: RelationNetwork(backbone()),
    "relation_maps_transductive": lambda: RelationNetwork(
        backbone(keras.layers.Reshape((1, 2, 3))),
        relation_loss="cross_entropy",
        statistics="transductive",
    ),
    "siamese_running": lambda: SiameseNetwork(backbone()),
    "siamese_contrastive_running": lambda: SiameseNetwork(
        backbone(), pair_loss="contrastive", class_score="mean"
    ),
    "siamese_triplet_support": lambda: SiameseNetwork(
        backbone(), pair_loss="triplet", statistics="support"
    ),
    "feat_running": lambda: FEAT(backbone(), temperature=4.0, dropout=0.1),
    "feat_heads_support": lambda: FEAT(
        backbone(), heads=2, temperature=4.0, balance=0.0, dropout=0.0, statistics="support"
    ),
    "sequence_mann_running": lambda: sequence(MANN(8, n_slots=6, slot_width=4, n_heads=2)),
    "sequence_dnc_support": lambda: sequence(DNC(8, n_slots=6, slot_width=4), statistics="support"),
    "sequence_snail_transductive": lambda: sequence(
        SNAIL(8, filters=4, key_size=4, value_size=4, n_blocks=1), statistics="transductive"
    ),
    "sequence_lstm_running": lambda: sequence(keras.layers.LSTMCell(8)),
}


# What the quick part of the table has: each way to learn, each kind of statistics. `pytest -m slow`
# runs the rest.
QUICK = {"maml_support", "maml_running", "maml_regression", "maml_reptile"}
QUICK |= {"prototypes_running", "prototypes_transductive", "relation_running"}
QUICK |= {"feat_running"}
KINDS = [k if k in QUICK else pytest.param(k, marks=pytest.mark.slow) for k in LEARNERS]


@pytest.fixture(params=KINDS, scope="module")
def kind(request):
    """The name of a learner of the table."""
    return request.param


@pytest.fixture(scope="module")
def make_learner(kind):
    """A function that returns a compiled learner, with the same weights at every call."""

    def make(optimizer=None, **options):
        keras.utils.set_random_seed(0)
        learner = LEARNERS[kind]()
        metrics = ["mae"] if "regression" in kind else ["accuracy"]
        learner.compile(optimizer or keras.optimizers.SGD(0.05), metrics=metrics, **options)
        return learner

    return make


@pytest.fixture(scope="module")
def make_episodes(kind):
    """A function that returns a batch of NumPy episodes of the learner's kind."""
    return regressions if "regression" in kind else classifications


def classifications(n_tasks=4, *, n_shot=2, seed=0):
    """Classes are clouds around centres of their own."""
    draws = np.random.default_rng(seed)
    centres = 2.0 * draws.standard_normal((n_tasks, N_WAY, 4))
    support_y = np.tile(np.repeat(np.arange(N_WAY), n_shot), (n_tasks, 1))
    query_y = draws.integers(0, N_WAY, (n_tasks, N_QUERY))

    def examples(labels):
        own = np.take_along_axis(centres, labels[..., np.newaxis], axis=1)
        return (own + 0.5 * draws.standard_normal(own.shape)).astype("float32")

    inputs = {
        "support_x": examples(support_y),
        "support_y": support_y.astype("int32"),
        "query_x": examples(query_y),
    }
    return inputs, query_y.astype("int32")


def regressions(n_tasks=4, *, n_shot=2, seed=0):
    """Every task is a linear function of its own."""
    draws = np.random.default_rng(seed)
    slopes = draws.standard_normal((n_tasks, 4, 2))
    support_x = draws.standard_normal((n_tasks, N_WAY * n_shot, 4)).astype("float32")
    query_x = draws.standard_normal((n_tasks, N_QUERY, 4)).astype("float32")
    support_y, query_y = ((np.tanh(x) @ slopes).astype("float32") for x in (support_x, query_x))
    return {"support_x": support_x, "support_y": support_y, "query_x": query_x}, query_y
