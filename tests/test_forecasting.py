import keras
import numpy as np
import pytest

import tfmeta
from tfmeta.data import Series, forecast_tasks
from tfmeta.functional import mase, naive2, smape
from tfmeta.learners import MAML
from tfmeta.models import nbeats_forecaster


@pytest.fixture
def series():
    draws = np.random.default_rng(0)
    season = np.tile([1.0, 3.0, 2.0, 5.0], 12)
    past = [season[: 40 + i] * draws.uniform(5, 9) + draws.uniform(0, 1, 40 + i) for i in range(4)]
    return Series(past, period=4, ids=list("abcd")).hold_out(3)


def test_naive2_has_an_owa_of_one(series):
    tasks = forecast_tasks(series, window=8, horizon=3)
    _, unit = tasks.last(2)
    naive = np.array([naive2(x, 3, period=4) for x in series.past]) / unit[:, None]
    report = tfmeta.evaluate_forecasts(lambda inputs: naive[:, None], tasks, n_shot=2, name="n2")
    assert report.mean("owa")[0] == pytest.approx(1.0, abs=1e-12)
    pairs = [
        (y, naive2(x, 3, period=4), x) for x, y in zip(series.past, series.future, strict=True)
    ]
    np.testing.assert_allclose(report.smape, [smape(y, f) for y, f, _ in pairs])
    np.testing.assert_allclose(report.mase, [mase(y, f, x, period=4) for y, f, x in pairs])
    assert str(report).startswith("OWA 1.000 ± ") and "4 series" in str(report)


def test_a_learner_forecasts_in_the_units_of_each_series(series):
    learner = MAML(nbeats_forecaster(8, 3, units=4, n_blocks=1), inner_steps=1)
    learner.network.set_weights([np.zeros_like(w) for w in learner.network.get_weights()])
    tasks = forecast_tasks(series, window=8, horizon=3)
    learner.update_rule.learning_rate = 1e-12
    wanted = [[x[-1]] * 3 for x in series.past]  # such a network repeats the last value
    np.testing.assert_allclose(
        tfmeta.forecasting.forecast(learner, tasks, n_shot=2), wanted, rtol=1e-5
    )
    report = tfmeta.evaluate_forecasts(learner, tasks, n_shot=2)
    assert report.name == learner.name and isinstance(learner, keras.Model)


def test_constant_series_are_left_out_and_named():
    noise = np.random.default_rng(0).uniform(1, 2, (2, 20))
    series = Series([noise[0], np.ones(20), noise[1]], ids=["a", "flat", "b"]).hold_out(2)
    tasks = forecast_tasks(series, window=4, horizon=2)
    report = tfmeta.evaluate_forecasts(lambda inputs: inputs["query_x"][:, :, -2:], tasks, n_shot=1)
    assert report.ids == ("a", "b") and "2 series, 1 left out" in str(report)
    assert "repeats itself" in report.left_out["flat"]
    assert tfmeta.ForecastReport.from_json(report.to_json()) == report


def test_series_not_longer_than_the_period_are_left_out_and_named():
    draws = np.random.default_rng(0)
    values = [draws.uniform(1, 2, n) for n in (20, 9, 20)]
    series = Series(values, ids=["a", "short", "b"], period=7).hold_out(2)
    tasks = forecast_tasks(series, window=4, horizon=2)
    report = tfmeta.evaluate_forecasts(lambda inputs: inputs["query_x"][:, :, -2:], tasks, n_shot=1)
    assert report.ids == ("a", "b") and "not longer than the period" in report.left_out["short"]
    tasks = forecast_tasks(series.select([1]), window=4, horizon=2)
    with pytest.raises(ValueError, match="because its past is not longer than the period"):
        tfmeta.evaluate_forecasts(lambda inputs: inputs["query_x"][:, :, -2:], tasks, n_shot=1)


def test_the_first_points_of_a_longer_forecast_count(series):
    def report(horizon):
        tasks = forecast_tasks(series, window=8, horizon=horizon)
        growth = np.arange(1.0, horizon + 1)
        return tfmeta.evaluate_forecasts(
            lambda x: x["query_x"][:, :, -1:] * growth, tasks, n_shot=1
        )

    np.testing.assert_array_equal(report(5).smape, report(3).smape)
    np.testing.assert_array_equal(report(5).mase, report(3).mase)


def test_bad_input(series):
    tasks = forecast_tasks(series, window=8, horizon=2)
    with pytest.raises(ValueError, match=r"at most horizon=2 points.*futures of \[3\] points"):
        tfmeta.evaluate_forecasts(lambda inputs: None, tasks, n_shot=1)
    tasks = forecast_tasks(Series(series.past), window=8, horizon=2)
    with pytest.raises(ValueError, match="futures of no points"):
        tfmeta.evaluate_forecasts(lambda inputs: None, tasks, n_shot=1)
    flat = Series([np.ones(20)]).hold_out(2)
    with pytest.raises(ValueError, match=r"1 series without one.*repeats itself"):
        tfmeta.evaluate_forecasts(
            lambda inputs: None, forecast_tasks(flat, window=4, horizon=2), n_shot=1
        )
