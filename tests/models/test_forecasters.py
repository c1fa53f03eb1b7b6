import keras
import numpy as np
import pytest

import tfmeta
from tfmeta.learners import MAML
from tfmeta.models import lstm_forecaster, nbeats_forecaster, tcn_forecaster

BUILDERS = {
    "lstm": lambda **o: lstm_forecaster(6, 2, units=3, points_per_step=2, from_last=True, **o),
    "tcn": lambda **o: tcn_forecaster(6, 2, filters=3, n_blocks=2, **o),
    "nbeats": lambda **o: nbeats_forecaster(6, 2, units=4, n_blocks=2, n_layers=1, **o),
}


def test_parameter_counts():
    lstm, tcn, nbeats = (build().count_params() for build in BUILDERS.values())
    assert lstm == 4 * 3 * (2 + 3 + 1) + 3 * 2 + 2
    assert tcn == (1 * 3 + 3) + 4 * (2 * 3 * 3 + 3) + 3 * 2 + 2
    hidden, forecast, backcast = 6 * 4 + 4, 4 * 2 + 2, 4 * 6 + 6
    assert nbeats == 2 * (hidden + forecast) + backcast


def test_the_convolutions_are_causal_and_see_far_enough():
    model = tcn_forecaster(40, 1, filters=4, n_blocks=4)
    features = keras.Model(model.input, model.get_layer("block_4").output)
    x = np.random.default_rng(0).standard_normal((1, 40)).astype("float32")
    changed = x.copy()
    changed[0, 9] += 1.0
    difference = np.abs(features(changed) - features(x)).max(-1)[0]
    assert difference[:9].max() == 0.0 and difference[9] > 0.0
    # Two taps each of the dilations 1, 2, 4 and 8: 30 points back, and no more.
    assert np.flatnonzero(difference).max() <= 9 + 30


@pytest.mark.parametrize("kind", ["lstm", "nbeats"])
def test_networks_that_say_nothing_repeat_the_last_value(kind):
    model = BUILDERS[kind]()
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    x = np.arange(12.0).reshape(2, 6)
    np.testing.assert_array_equal(model(x), [[5.0, 5.0], [11.0, 11.0]])


def test_deviations_do_not_depend_on_the_level():
    model = BUILDERS["lstm"]()
    x = np.random.default_rng(0).standard_normal((2, 6)).astype("float32")
    np.testing.assert_allclose(model(x + 5.0), model(x) + 5.0, atol=1e-5)


@pytest.mark.parametrize("kind", BUILDERS)
def test_inner_loops_have_exact_second_derivatives(kind):
    keras.config.set_floatx("float64")
    try:
        keras.utils.set_random_seed(0)
        learner = MAML(BUILDERS[kind](), inner_steps=2, update_rule=0.05)
    finally:
        keras.config.set_floatx("float32")
    draws = np.random.default_rng(0)
    inputs = {
        "support_x": draws.standard_normal((1, 4, 6)),
        "support_y": draws.standard_normal((1, 4, 2)),
        "query_x": draws.standard_normal((1, 3, 6)),
    }
    assert tfmeta.gradcheck(learner, inputs, draws.standard_normal((1, 3, 2))) < 1e-6


def test_bad_input():
    with pytest.raises(ValueError, match=r"positive integer\. Received: horizon=0"):
        lstm_forecaster(4, 0)
    with pytest.raises(
        ValueError, match=r"divide the window\. Received: points_per_step=3, window=4"
    ):
        lstm_forecaster(4, 1, points_per_step=3)
