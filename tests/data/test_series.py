import numpy as np
import pytest
import tensorflow as tf

from tfmeta.data import (
    Series,
    episode_dataset,
    forecast_tasks,
    series_from_csv,
    series_from_npz,
    unit_of,
)


@pytest.fixture
def series():
    # Every value tells its series (hundreds) and its time (units), so that windows can be read.
    return Series([1000.0 + np.arange(n) + 100 * i for i, n in enumerate((20, 30, 25))])


def read(x, y):
    """The values of windows, whose units are undone."""
    # Of an arithmetic series with step 1, unit = 1 / step of the scaled window.
    unit = 1.0 / np.diff(x, axis=-1).mean(-1, keepdims=True)
    return np.concatenate([x, y], axis=-1) * unit


def test_windows_are_cut_from_one_series_and_support_ends_before_the_query(series):
    tasks = forecast_tasks(series, window=4, horizon=3, stride=2)
    dataset = episode_dataset(tasks, n_shot=3, n_query=2, n_tasks=5, n_episodes=40)
    seen = set()
    for inputs, query_y in dataset:
        support = read(inputs["support_x"].numpy(), inputs["support_y"].numpy())
        query = read(inputs["query_x"].numpy(), query_y.numpy())
        assert support.shape == (5, 3, 7) and query.shape == (5, 2, 7)
        for part in (support, query):
            np.testing.assert_allclose(np.diff(part), 1.0, atol=0.1)
        first = np.round(query[:, 0, 4])  # the first value that is forecast
        np.testing.assert_allclose(support[:, -1, -1], first - 1, atol=0.3)
        np.testing.assert_allclose(support[:, :, 4] - first[:, None], [[-7, -5, -3]] * 5, atol=0.3)
        np.testing.assert_allclose(query[:, 1, 4], first + 1, atol=0.3)
        seen |= set(first)
    # All three series are drawn, never beyond their ends.
    assert {v // 100 for v in seen} == {10.0, 11.0, 12.0}
    ends = [1000 + 19, 1100 + 29, 1200 + 24]
    assert all(v + 1 + 2 <= end for v in seen for end in ends if v // 100 == end // 100)


def test_an_episode_is_a_function_of_its_number(series):
    tasks = forecast_tasks(series, window=4, horizon=2)
    one = next(iter(episode_dataset(tasks, n_shot=2, n_query=1, n_tasks=4, seed=3)))
    later = next(iter(episode_dataset(tasks, n_shot=2, n_query=1, start=2, seed=3)))
    np.testing.assert_array_equal(one[0]["query_x"][2:3], later[0]["query_x"])


def test_the_last_episodes_end_with_the_pasts(series):
    inputs, unit = forecast_tasks(series, window=4, horizon=3).last(n_shot=2)
    np.testing.assert_allclose(
        inputs["query_x"][:, 0] * unit[:, None],
        [np.arange(1016, 1020), np.arange(1126, 1130), np.arange(1221, 1225)],
        rtol=1e-6,
    )
    support = read(inputs["support_x"], inputs["support_y"])
    np.testing.assert_allclose(
        support[:, :, -1], [[1018, 1019], [1128, 1129], [1223, 1224]], atol=0.5
    )


def test_a_short_past_has_its_windows_closer(series):
    tasks = forecast_tasks(series, window=4, horizon=3, stride=10, min_stride=2)
    support = read(*(tasks.last(n_shot=3)[0][k] for k in ("support_x", "support_y")))
    ends = np.round(support[:, :, -1])
    # The last ends with the past; three windows of seven points fit into 20 six apart.
    np.testing.assert_array_equal(ends[0], 1019 - np.array([12, 6, 0]))
    np.testing.assert_array_equal(ends[1], 1129 - np.array([20, 10, 0]))
    assert tasks.past_needed(3) == 4 + 3 + 2 * 2 + 3
    for inputs, query_y in episode_dataset(tasks, n_shot=3, n_query=1, n_tasks=5, n_episodes=40):
        support = read(inputs["support_x"].numpy(), inputs["support_y"].numpy())
        first = np.round(read(inputs["query_x"].numpy(), query_y.numpy())[:, 0, 4])
        gaps = np.diff(np.round(support[:, :, 0]))
        room = (first % 100 - 7) // 2
        np.testing.assert_array_equal(gaps, np.minimum(10, room)[:, None].repeat(2, 1))
        assert gaps.min() >= 2
    with pytest.raises(ValueError, match=r"above `stride`\. Received: min_stride=3, stride=2"):
        forecast_tasks(series, window=4, horizon=3, stride=2, min_stride=3)


def test_units():
    windows = tf.constant([[1.0, -5.0, 2.0, -6.0], [0.0] * 4, [2.0] * 4])
    flat = [[1.0], [2.0 * np.sqrt(1e-3)]]
    np.testing.assert_allclose(unit_of(windows), [[np.sqrt(3.5 * 7)], *flat], rtol=1e-6)
    np.testing.assert_allclose(unit_of(windows, 2), [[np.sqrt(3.5 * 1)], *flat], rtol=1e-6)
    # A season that does not fit into the window is none.
    np.testing.assert_allclose(unit_of(windows, 4), unit_of(windows, 1))


def test_too_short_series_are_named_and_can_be_left_out(series):
    tasks = forecast_tasks(series, window=15, horizon=5, stride=3)
    assert tasks.past_needed(2) == 15 + 5 + 3 + 5
    with pytest.raises(ValueError, match=r"at least 28 points.*2 shorter.*'0' with 20"):
        tasks.sample(0, tf.constant([0], tf.int64), 2, 1)
    long, left_out = series.longer_than(27)
    assert left_out == ("0", "2") and long.ids == ("1",)
    assert forecast_tasks(long, window=15, horizon=5, stride=3).last(2)[1].shape == (1,)


def test_hold_out(series):
    held = series.hold_out(5)
    assert list(held.lengths) == [15, 25, 20]
    np.testing.assert_array_equal(np.r_[held.past[1], held.future[1]], series.past[1])
    with pytest.raises(ValueError, match=r"horizon=20 and 1 shorter series, such as \['0'\]"):
        series.hold_out(20)


def test_files(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("name;when;sold\na;1;2.5\nb;1;7\na;2;3.5\n")
    series = series_from_csv(path, id="name", value="sold", delimiter=";", period=7)
    assert series.ids == ("a", "b") and series.period == 7
    assert [x.tolist() for x in series.past] == [[2.5, 3.5], [7.0]]
    arrays = {"train_values": np.arange(6.0), "train_offsets": np.array([0, 2, 6])}
    arrays |= {"test_values": np.arange(4.0), "test_offsets": np.array([0, 1, 4])}
    arrays |= {"ids": np.array(["x", "y"]), "period": np.array(["YEARLY", "MONTHLY"])}
    np.savez(tmp_path / "s.npz", **arrays)
    monthly = series_from_npz(tmp_path / "s.npz", kind="MONTHLY", period=12)
    assert monthly.ids == ("y",) and monthly.past[0].tolist() == [2.0, 3.0, 4.0, 5.0]
    assert monthly.future[0].tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match=r"\['MONTHLY', 'YEARLY'\].*kind='DAILY'"):
        series_from_npz(tmp_path / "s.npz", kind="DAILY")


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match=r"series 'b' with 1 missing.*at point 1"):
        Series([np.ones(3), np.array([1.0, np.nan])], ids=["a", "b"])
    with pytest.raises(
        ValueError, match=r"numbers\. Received: series 'a': could not convert.*'high'"
    ):
        Series([["high", "low"]], ids=["a"])
    with pytest.raises(ValueError, match=r"once.*\['a'\]"):
        Series([np.ones(3), np.ones(2)], ids=["a", "a"])
    with pytest.raises(ValueError, match="0 series"):
        Series([])
    with pytest.raises(ValueError, match=r"2 series, 2 ids, 1 futures"):
        Series([np.ones(3), np.ones(3)], future=[np.ones(1)])
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        Series([np.ones((2, 2))])
    with pytest.raises(ValueError, match="`horizon` must be an integer of at least 1"):
        forecast_tasks(Series([np.ones(9)]), window=2, horizon=0)
    path = tmp_path / "gap.csv"
    path.write_text("id,value\na,1\na,\n")
    with pytest.raises(ValueError, match=r"line 3: a value must be a number. Received: ''"):
        series_from_csv(path)
    with pytest.raises(ValueError, match=r"columns 'id' and 'sold'"):
        series_from_csv(path, value="sold")
    with pytest.raises(ValueError, match="cannot be read"):
        series_from_csv(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="train_values"):
        series_from_npz(path)
