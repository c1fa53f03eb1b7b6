"""A rule of the user's own that does not keep to its contract is named."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.inner_loop import UpdateRule
from tfmeta.learners import MAML, ImplicitMAML, Reptile
from tfmeta.learners.second_order import check_second_derivatives

N_TASKS = 3
INPUTS = {
    "support_x": np.random.default_rng(0).random((N_TASKS, 4, 3), "float32"),
    "support_y": np.tile([0, 0, 1, 1], (N_TASKS, 1)),
    "query_x": np.random.default_rng(1).random((N_TASKS, 2, 3), "float32"),
    "episode": np.arange(100, 100 + N_TASKS),
}
QUERY_Y = np.tile([0, 1], (N_TASKS, 1))


def network(*layers):
    return keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(2)])


def fit(learner, inputs=INPUTS):
    learner.compile(keras.optimizers.SGD(0.1))
    learner.fit(inputs, QUERY_Y, batch_size=N_TASKS, verbose=0)


class Broken(UpdateRule):
    """Gradient descent whose result one function changes."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def update(self, step, weights, gradients, state):
        moved = [w - 0.1 * g for w, g in zip(weights, gradients, strict=True)]
        return self.change(step, moved, state)


STRUCTURES = {
    "no pair": (lambda step, moved, state: moved[0], r"a pair.*Received: \w*Tensor"),
    "fewer": (lambda step, moved, state: (moved[:1], state), r"Received: \[\('float32', \(3, 2\)"),
    "shape": (
        lambda step, moved, state: ([moved[0][:1], moved[1]], state),
        r"\(3, 2\).*Received: \[\('float32', \(1, 2\)",
    ),
    "dtype": (
        lambda step, moved, state: ([tf.cast(w, "float64") for w in moved], state),
        r"Received: \[\('float64'",
    ),
}


@pytest.mark.parametrize("engine", ["mapped", "vectorized"])
@pytest.mark.parametrize("kind", STRUCTURES)
def test_another_structure(kind, engine):
    change, message = STRUCTURES[kind]
    learner = MAML(network(), update_rule=Broken(change), inner_steps=2, engine=engine)
    with pytest.raises(ValueError, match=rf"`Broken\.update` must return .*{message}"):
        fit(learner)


def test_another_structure_in_adapt():
    learner = MAML(network(), update_rule=Broken(STRUCTURES["fewer"][0]), inner_steps=2)
    with pytest.raises(ValueError, match=r"`Broken\.update` must return .* at inner step 1"):
        learner.adapt(INPUTS["support_x"][0], INPUTS["support_y"][0])


@pytest.mark.parametrize("engine", ["mapped", "vectorized"])
@pytest.mark.parametrize("kind", [MAML, Reptile, ImplicitMAML])
def test_a_rule_that_returns_nan_is_told_by_task_and_step(kind, engine):
    rule = Broken(lambda step, w, state: ([x * (np.nan if step == 1 else 1.0) for x in w], state))
    learner = kind(network(), update_rule=rule, inner_steps=3, engine=engine)
    with pytest.raises(ValueError, match=r"not finite.* inner step .*= 100 101 102, 2 2 2$"):
        fit(learner)


def test_a_bad_example_is_told_by_its_task_and_the_first_step():
    support_x = INPUTS["support_x"].copy()
    support_x[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"= 101, 1$"):
        fit(MAML(network(), inner_steps=2), {**INPUTS, "support_x": support_x})


def test_a_bad_query_is_no_matter_of_inner_steps():
    query_x = INPUTS["query_x"].copy()
    query_x[2, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"= 102, 0$"):
        fit(MAML(network(), inner_steps=2), {**INPUTS, "query_x": query_x})


def recurrent(kind, use_cudnn, **options):
    layers = [keras.layers.Reshape((3, 1)), kind(2, name="memory", **options)]
    net = network(*layers)
    # Keras refuses True where there is no GPU, once the layer is called.
    layers[1].use_cudnn = use_cudnn
    return net


KINDS = pytest.mark.parametrize("kind", [keras.layers.LSTM, keras.layers.GRU])


@KINDS
def test_what_cudnn_computes_has_no_second_derivative(kind):
    with pytest.raises(ValueError, match=r"second derivatives.*\['memory'\].*use_cudnn=False"):
        fit(MAML(recurrent(kind, True), inner_steps=1))


@KINDS
@pytest.mark.parametrize("use_cudnn", ["auto", False])
def test_without_a_gpu_keras_does_not_take_it(kind, use_cudnn):
    net = recurrent(kind, use_cudnn)
    check_second_derivatives(net, net.trainable_variables)


@KINDS
def test_on_a_gpu_keras_takes_it_by_itself(kind):
    net = recurrent(kind, "auto")
    with pytest.raises(ValueError, match="use_cudnn=False"):
        check_second_derivatives(net, net.trainable_variables, has_gpu=True)
    for other in (recurrent(kind, "auto", unroll=True), recurrent(kind, False)):
        check_second_derivatives(other, other.trainable_variables, has_gpu=True)
    # The gradient of the head alone is not taken through the recurrent layer.
    check_second_derivatives(net, net.layers[-1].trainable_variables, has_gpu=True)
