"""Implicit MAML against the derivative of the minimum that the inner loop comes to."""

import keras
import numpy as np
import pytest

from tfmeta.inner_loop import LayerStepRates
from tfmeta.learners import ImplicitMAML
from tfmeta.testing import in_float64

DRAWS = np.random.default_rng(0)


def network():
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(3, activation="tanh", name="body"), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((2,)), *layers])


def test_a_quadratic_has_its_closed_form():
    # Support (1, 4) at w = 0 with proximal 2: (w - 4)^2 + w^2 has its minimum at 2. The Hessian is
    # 2, so that the meta-gradient is (1 + 2 / 2)^-1 times the query's slope 2 (2 - 1) = 2.
    line = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    line.set_weights([np.zeros((1, 1))])
    learner = ImplicitMAML(line, update_rule=0.2, inner_steps=60, proximal=2.0)
    learner.compile(keras.optimizers.SGD(1.0))
    one = np.ones((1, 1, 1), "float32")
    inputs = {"support_x": one, "support_y": 4.0 * one, "query_x": one}
    loss = learner.train_on_batch(inputs, one)
    np.testing.assert_allclose(np.ravel(loss)[0], 1.0, rtol=1e-4)
    np.testing.assert_allclose(learner.get_weights()[0], [[-1.0]], rtol=1e-4)


@pytest.mark.parametrize("adapt", [pytest.param("all", marks=pytest.mark.slow), "head"])
def test_the_meta_gradient_is_that_of_the_minimum(adapt):
    learner = ImplicitMAML(
        network(), update_rule=0.4, inner_steps=40, proximal=1.0, cg_steps=20, adapt=adapt
    )
    learner = in_float64(learner)
    x, query_x = DRAWS.standard_normal((2, 1, 6, 2))
    y, query_y = DRAWS.standard_normal((2, 1, 6, 2))
    inputs = {"support_x": x, "support_y": y, "query_x": query_x}

    def loss():
        return float(np.mean(np.square(learner(inputs) - query_y)))

    before = learner.get_weights()
    learner.compile(keras.optimizers.SGD(1.0))
    learner.train_on_batch(inputs, query_y)
    gradients = [b - a for a, b in zip(learner.get_weights(), before, strict=True)]
    directions = [DRAWS.standard_normal(w.shape) for w in before]
    slope = sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))
    values = []
    for sign in (1, -1):
        learner.set_weights([w + sign * 1e-5 * d for w, d in zip(before, directions, strict=True)])
        values.append(loss())
    np.testing.assert_allclose(slope, (values[0] - values[1]) / 2e-5, rtol=1e-5)


def test_bad_options():
    with pytest.raises(ValueError, match="no meta-gradient for an update rule that learns"):
        ImplicitMAML(network(), update_rule=LayerStepRates(0.1))
    with pytest.raises(ValueError, match="`proximal` must be positive"):
        ImplicitMAML(network(), proximal=0.0)
    with pytest.raises(ValueError, match="`cg_steps` must be a positive integer"):
        ImplicitMAML(network(), cg_steps=0)
