"""Every bad input is a ValueError that says what was expected, what came and the cure."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.learners import MAML, PrototypicalNetwork

N_TASKS, N_WAY = 4, 3
LABELS = np.tile(np.repeat(np.arange(N_WAY), 2), (N_TASKS, 1)).astype("int32")
DRAWS = np.random.default_rng(0)
INPUTS = {
    "support_x": DRAWS.random((N_TASKS, 6, 4), "float32"),
    "support_y": LABELS,
    "query_x": DRAWS.random((N_TASKS, 5, 4), "float32"),
}
QUERY_Y = np.tile([0, 1, 2, 1, 0], (N_TASKS, 1)).astype("int32")


def network(outputs=N_WAY):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(outputs)])


def maml(outputs=N_WAY, loss=None, **options):
    learner = MAML(network(outputs), inner_steps=1, **options)
    learner.compile(keras.optimizers.SGD(0.1), loss)
    return learner


def prototypes():
    learner = PrototypicalNetwork(network())
    learner.compile(keras.optimizers.SGD(0.1))
    return learner


def fit_arrays(learner, inputs, query_y):
    learner.fit(inputs, query_y, batch_size=2, verbose=0)


def fit_dataset(learner, inputs, query_y):
    learner.fit(tf.data.Dataset.from_tensor_slices((inputs, query_y)).batch(2), verbose=0)


def train_on_batch(learner, inputs, query_y):
    learner.train_on_batch(inputs, query_y)


def evaluate(learner, inputs, query_y):
    learner.evaluate(inputs, query_y, verbose=0)


def predict(learner, inputs, _):
    learner.predict(inputs, verbose=0)


def call(learner, inputs, _):
    learner(inputs)


def adapt(learner, inputs, _):
    learner.adapt(inputs["support_x"][0], inputs["support_y"][0])


EVERY_WAY = [fit_arrays, fit_dataset, train_on_batch, evaluate, predict, call, adapt]


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("make", [maml, prototypes])
def test_labels_of_the_support_out_of_range(make, way):
    # The classes of MAML are at most its outputs; those of Prototypical Networks have no end.
    wrong = LABELS + 1 if make is maml else LABELS - 1
    with pytest.raises(ValueError, match=r"`support_y` must hold .*0 \.\.\. n_way - 1\. Number"):
        way(make(), {**INPUTS, "support_y": wrong}, np.zeros_like(QUERY_Y))


@pytest.mark.parametrize("way", [fit_arrays, fit_dataset, evaluate])
@pytest.mark.parametrize("make", [maml, prototypes])
@pytest.mark.parametrize("label, values", [(3, "0, 3, 3"), (-1, "-1, 2, 3")])
def test_labels_of_the_query_out_of_range(make, way, label, values):
    query_y = QUERY_Y.copy()
    query_y[-1, 0] = label
    with pytest.raises(ValueError, match=rf"`query_y` must .*smallest, largest, n_way = {values}$"):
        way(make(), INPUTS, query_y)


def test_a_class_without_a_prototype():
    with pytest.raises(ValueError, match=r"an example of every class .*Received: classes \[0 2\]"):
        prototypes().adapt(INPUTS["support_x"][0, :2], [0, 2])


@pytest.mark.parametrize("way", [fit_arrays, fit_dataset, evaluate, predict, call])
def test_a_network_wider_than_n_way(way):
    with pytest.raises(ValueError, match=r"must have n_way outputs.* = 3, 10"):
        way(maml(10), INPUTS, QUERY_Y)


def test_a_network_wider_than_n_way_is_meant_where_the_support_is_masked():
    maml(10).predict({**INPUTS, "support_mask": np.ones(LABELS.shape, bool)}, verbose=0)


@pytest.mark.parametrize("way", [fit_arrays, evaluate, predict])
def test_a_network_narrower_than_n_way(way):
    with pytest.raises(ValueError, match=r"give the network n_way outputs\. Received: .* 0, 2, 2"):
        way(maml(2), INPUTS, QUERY_Y)


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("key", ["support_x", "query_x"])
def test_examples_of_another_shape(way, key):
    if way is adapt and key == "query_x":
        learner = maml()
        state = learner.adapt(INPUTS["support_x"][0], LABELS[0])
        with pytest.raises(ValueError, match=r"`query_x` must have the shape \[examples\]"):
            learner.predict_query(state, INPUTS["query_x"][0, :, :3])
        return
    with pytest.raises(
        ValueError, match=rf"`{key}` must have the shape .*\(4,\).* Received: {key}"
    ):
        way(maml(), {**INPUTS, key: INPUTS[key][..., :3]}, QUERY_Y)


@pytest.mark.parametrize("way", EVERY_WAY)
def test_examples_that_are_strings(way):
    with pytest.raises(ValueError, match=r"(numbers|float32).* Received: .*(str|<U)"):
        way(maml(), {**INPUTS, "support_x": INPUTS["support_x"].astype(str)}, QUERY_Y)


def one_hot(y):
    return np.eye(N_WAY, dtype="float32")[y]


@pytest.mark.parametrize(
    "support_y, query_y, loss",
    [
        (LABELS, QUERY_Y.astype("float32"), None),
        (LABELS, one_hot(QUERY_Y), None),
        (LABELS, QUERY_Y, "mse"),
        (LABELS, QUERY_Y, keras.losses.MeanSquaredError()),
        (one_hot(LABELS), QUERY_Y, None),
        (one_hot(LABELS), one_hot(QUERY_Y).astype("int32"), None),
        (
            one_hot(LABELS),
            one_hot(QUERY_Y),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        ),
    ],
)
def test_query_targets_that_do_not_fit_the_support_or_the_loss(support_y, query_y, loss):
    with pytest.raises(ValueError, match=r"`query_y` must be .* Received: query_y .*, loss"):
        fit_arrays(maml(loss=loss), {**INPUTS, "support_y": support_y}, query_y)


def test_labels_that_are_floats():
    with pytest.raises(ValueError, match=r"must be integer\. Received: float32\. Targets of a reg"):
        maml().adapt(INPUTS["support_x"][0], LABELS[0].astype("float32"))


@pytest.mark.parametrize(
    "support_width, query_width, message",
    [(2, 2, r"as wide as the network's output \(3\)"), (3, 2, "as wide in the query as in the")],
)
def test_targets_of_another_width(support_width, query_width, message):
    targets = one_hot(LABELS)[..., :support_width]
    with pytest.raises(ValueError, match=message):
        fit_arrays(maml(), {**INPUTS, "support_y": targets}, one_hot(QUERY_Y)[..., :query_width])


def test_a_prototypical_network_on_a_regression():
    with pytest.raises(ValueError, match="Use `MAML` for regression"):
        fit_arrays(prototypes(), {**INPUTS, "support_y": one_hot(LABELS)}, one_hot(QUERY_Y))


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        "categorical_crossentropy",
        ["sparse_categorical_crossentropy"],
        keras.losses.sparse_categorical_crossentropy,
        keras.losses.SparseCategoricalCrossentropy(),
        keras.losses.SparseCategoricalCrossentropy(name="outer"),
        keras.losses.BinaryCrossentropy(),
    ],
)
def test_a_loss_that_takes_probabilities(loss):
    with pytest.raises(ValueError, match=r"must take logits.*Received: loss=.*from_logits=True"):
        maml(loss=loss)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(N_WAY)

    def call(self, x):
        return self.dense(x)


@pytest.mark.parametrize(
    "make", [lambda: keras.Sequential([keras.layers.Dense(N_WAY)]), Subclassed]
)
@pytest.mark.parametrize("learner", [MAML, PrototypicalNetwork])
def test_an_unbuilt_network(make, learner):
    with pytest.raises(ValueError, match=r"must be built .*not built\. Call it once"):
        learner(make())


def test_a_subclassed_network_is_wrapped():
    model = Subclassed()
    model(INPUTS["support_x"][0])
    with pytest.raises(ValueError, match=r"one input of a known shape.*wrap a subclassed model"):
        MAML(model)
    wrapped = keras.Sequential([keras.Input((4,)), model])
    learner = MAML(wrapped, inner_steps=1)
    assert learner.predict(INPUTS, verbose=0).shape == (N_TASKS, 5, N_WAY)


def test_a_network_of_two_inputs():
    left, right = keras.Input((4,)), keras.Input((2,))
    joined = keras.Model([left, right], keras.layers.Concatenate()([left, right]))
    with pytest.raises(ValueError, match="Join several inputs into one"):
        PrototypicalNetwork(joined)


@pytest.mark.parametrize("thing", [keras.layers.Dense(3), "conv4", None])
def test_what_is_not_a_model(thing):
    with pytest.raises(
        ValueError, match=r"`network` must be a `keras\.Model`.* Received: network="
    ):
        MAML(thing)


def test_a_backbone_whose_features_are_maps():
    maps = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"Received: output shape \(None, 2, 2, 2\).*Flatten"):
        PrototypicalNetwork(maps)


@pytest.mark.parametrize(
    "options",
    [
        {"inner_steps": 0},
        {"inner_steps": 1.5},
        {"inner_steps": True},
        {"evaluation_steps": 0},
        {"order": 3},
        {"statistics": "batch"},
        {"adapt": "nothing like this"},
    ],
)
def test_options_of_maml(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=rf"`{name}` must .*Received: {name}={value!r}"):
        MAML(network(), **options)


@pytest.mark.parametrize("rate", [0, -0.1, float("nan")])
def test_an_inner_rate_that_is_not_positive(rate):
    with pytest.raises(ValueError, match="must be positive and finite"):
        MAML(network(), update_rule=rate)


@pytest.mark.parametrize("options", [{"distance": "manhattan"}, {"statistics": "batch"}])
def test_options_of_prototypical_networks(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=rf"`{name}` must be one of .*Received: {name}={value!r}"):
        PrototypicalNetwork(network(), **options)


@pytest.mark.parametrize("way", [fit_arrays, evaluate, predict, call])
def test_keys_that_are_missing_or_unknown(way):
    missing = {key: x for key, x in INPUTS.items() if key != "query_x"}
    with pytest.raises(ValueError, match=r"missing \['query_x'\], unknown \[\]"):
        way(maml(), missing, QUERY_Y)
    with pytest.raises(ValueError, match=r"missing \[\], unknown \['labels'\]"):
        way(maml(), {**INPUTS, "labels": LABELS}, QUERY_Y)


@pytest.mark.parametrize("way", [fit_arrays, evaluate, predict, call])
def test_what_is_not_a_dict(way):
    with pytest.raises(ValueError, match=r"must be a dict with .*Received:"):
        way(maml(), INPUTS["support_x"], QUERY_Y)


@pytest.mark.parametrize(
    "key, x, axes",
    [
        ("support_y", LABELS[:, :5], r"\[tasks, support\]"),
        ("support_mask", np.ones((N_TASKS, 5), bool), r"\[tasks, support\]"),
        ("support_mask", np.ones((*LABELS.shape, 1), bool), r"\[tasks, support\]"),
        ("episode", np.ones((N_TASKS, 1), "int64"), r"\[tasks\]"),
    ],
)
def test_inputs_that_are_not_one_for_each_example(key, x, axes):
    with pytest.raises(ValueError, match=rf"`{key}` must have the axes {axes}.* Received: {key}"):
        fit_arrays(maml(), {**INPUTS, key: x}, QUERY_Y)


def test_targets_and_weights_that_are_not_one_for_each_query():
    with pytest.raises(ValueError, match=r"`query_y` must have the axes \[tasks, query\]"):
        fit_arrays(maml(), INPUTS, QUERY_Y[:, :4])
    weight = np.ones(N_TASKS, "float32")
    with pytest.raises(ValueError, match=r"`sample_weight` must have the axes \[tasks, query\]"):
        maml().fit(INPUTS, QUERY_Y, sample_weight=weight, verbose=0)


def test_training_without_targets():
    with pytest.raises(ValueError, match="need `query_y`"):
        maml().fit(INPUTS, verbose=0)


def test_fitting_before_compile_is_keras_error():
    with pytest.raises(ValueError, match=r"must call `compile\(\)`"):
        MAML(network()).fit(INPUTS, QUERY_Y, verbose=0)
