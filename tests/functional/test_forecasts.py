import numpy as np
import pytest

from tfmeta.functional import (
    autocorrelation,
    is_seasonal,
    mase,
    naive2,
    naive_error,
    owa,
    seasonal_factors,
    smape,
)


def test_errors_by_hand():
    actual, forecast = np.array([10.0, 20.0, 0.0]), np.array([10.0, 30.0, 0.0])
    np.testing.assert_allclose(smape(actual, forecast), 200 / 3 * (10 / 50))
    np.testing.assert_allclose(smape(np.array([[-1.0], [1.0]]), np.array([[1.0], [1.0]])), [200, 0])
    past = np.array([1.0, 5.0, 2.0, 9.0])
    assert naive_error(past, period=2) == (1 + 4) / 2
    np.testing.assert_allclose(mase(actual, forecast, past, period=2), (10 / 3) / 2.5)
    assert owa(2.0, 3.0, 4.0, 3.0) == 0.75


def test_sides_of_smape_are_alike():
    a, b = np.random.default_rng(0).uniform(1, 9, (2, 5, 4))
    np.testing.assert_allclose(smape(a, b), smape(b, a))


def test_autocorrelations_against_their_definition():
    x = np.random.default_rng(0).standard_normal(30)
    centred = x - x.mean()
    wanted = [sum(centred[t] * centred[t - k] for t in range(k, 30)) for k in (1, 2, 3)]
    np.testing.assert_allclose(autocorrelation(x, 3), wanted / np.sum(centred**2))


@pytest.mark.parametrize("period", [3, 4])
def test_factors_of_a_season_on_a_trend_are_found_again(period):
    factors = np.linspace(0.7, 1.3, period)
    past = 100.0 * np.tile(factors, 9)[: 8 * period + 2]
    np.testing.assert_allclose(seasonal_factors(past, period), factors / factors.mean())
    wanted = 100.0 * np.tile(factors, 12)[len(past) : len(past) + 5]
    np.testing.assert_allclose(naive2(past, 5, period=period), wanted)


def test_what_is_seasonal():
    draws = np.random.default_rng(0)
    season = np.tile([1.0, 5.0, 2.0, 3.0], 10)
    assert is_seasonal(season + 0.1 * draws.standard_normal(40), 4)
    assert not is_seasonal(draws.standard_normal(40), 4)
    assert not is_seasonal(season, 1)
    assert not is_seasonal(season[:11], 4)  # less than three periods
    assert not is_seasonal(np.ones(40), 4)


def test_without_a_season_the_last_value_repeats():
    np.testing.assert_array_equal(naive2(np.array([4.0, 7.0]), 3, period=24), [7.0, 7.0, 7.0])


def test_bad_input():
    with pytest.raises(ValueError, match=r"one shape.*\(2,\) and \(3,\)"):
        smape(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="NaN or infinity in `forecast`"):
        smape(np.ones(2), np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="repeats itself with period=2"):
        mase(np.ones(1), np.ones(1), np.array([1.0, 2.0, 1.0, 2.0]), period=2)
    with pytest.raises(ValueError, match=r"longer than the period.*2 values and period=2"):
        naive_error(np.ones(2), period=2)
    with pytest.raises(ValueError, match="two periods"):
        seasonal_factors(np.ones(5), 3)
    with pytest.raises(ValueError, match="horizon=0"):
        naive2(np.ones(2), 0)
