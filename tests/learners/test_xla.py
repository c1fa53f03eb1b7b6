"""Under XLA a learner computes the same, or is refused."""

import keras
import numpy as np
import pytest

from tfmeta.learners import MAML, PrototypicalNetwork
from tfmeta.models import conv4

DRAWS = np.random.default_rng(0)
INPUTS = {
    "support_x": DRAWS.integers(0, 256, (2, 6, 16, 16, 1), dtype=np.uint8),
    "support_y": np.tile([0, 0, 1, 1, 2, 2], (2, 1)),
    "query_x": DRAWS.integers(0, 256, (2, 6, 16, 16, 1), dtype=np.uint8),
}
QUERY_Y = np.tile([0, 1, 2, 0, 1, 2], (2, 1))


def network(downsampling):
    return conv4((16, 16, 1), outputs=3, filters=2, downsampling=downsampling)


@pytest.mark.parametrize("statistics", ["support", pytest.param("running", marks=pytest.mark.slow)])
def test_second_order_step_is_the_same(statistics):
    weights = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        learner = MAML(network("stride"), inner_steps=1, statistics=statistics)
        learner.compile(keras.optimizers.SGD(0.1), jit_compile=jit_compile)
        learner.train_on_batch(INPUTS, QUERY_Y)
        assert learner.jit_compile is jit_compile
        weights.append(np.concatenate([np.ravel(w) for w in learner.get_weights()]))
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-5)


def test_second_order_through_max_pooling_is_refused():
    with pytest.raises(ValueError, match=r"max pooling.*Received: layers"):
        MAML(network("pool")).compile(jit_compile=True)
    MAML(network("pool"), order=1).compile(jit_compile=True)
    MAML(network("pool")).compile()


def test_any_number_of_classes_goes_without():
    learner = PrototypicalNetwork(conv4((16, 16, 1), filters=2))
    with pytest.warns(UserWarning, match="jit_compile"):
        learner.compile(keras.optimizers.SGD(0.1), jit_compile=True)
    assert learner.jit_compile is False
    assert np.isfinite(learner.train_on_batch(INPUTS, QUERY_Y))
