import numpy as np
import pytest
from matplotlib.colors import to_rgba

from tfmeta.evaluation import EpisodeReport
from tfmeta.intervals import mean_interval
from tfmeta.plots import (
    plot_adaptation,
    plot_episode,
    plot_forecast,
    plot_history,
    plot_regression,
    plot_report,
)
from tfmeta.plots.style import GREEN, RED

PNG = b"\x89PNG"


def episode(shape=(6, 6), dtype="uint8"):
    """Two tasks, 2-way 2-shot, three queries a class."""
    rng = np.random.default_rng(0)
    inputs = {
        "support_x": rng.integers(0, 255, (2, 4, *shape)).astype(dtype),
        "support_y": np.tile([0, 0, 1, 1], (2, 1)),
        "query_x": rng.integers(0, 255, (2, 6, *shape)).astype(dtype),
    }
    return inputs, np.tile([0, 0, 0, 1, 1, 1], (2, 1))


def texts(ax):
    return [text.get_text() for text in ax.texts]


def title(figure):
    return figure.get_suptitle()


@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 1), (6, 6, 3)])
def test_an_episode_shows_every_picture_and_name(shape, tmp_path):
    inputs, query_y = episode(shape)
    path = tmp_path / "episode.png"
    figure = plot_episode(inputs, query_y, class_names=["alpha", "beta"], save=path)
    assert len(figure.axes[0].images) == 4 + 6
    assert texts(figure.axes[0]) == ["support", "queries", "alpha", "beta"]
    assert title(figure) == "2-way 2-shot"
    assert path.read_bytes().startswith(PNG)


def test_predictions_are_framed_and_named():
    inputs, query_y = episode()
    inputs["episode"] = np.array([7, 8])
    predicted = np.array([[0] * 6, [0, 1, 0, 1, 1, 1]])
    figure = plot_episode(
        inputs, query_y, np.eye(2)[predicted], task=1, class_names=["alpha", "beta"]
    )
    assert title(figure) == "episode 8: 2-way 2-shot, 5 of 6 queries right"
    assert texts(figure.axes[0])[2:] == ["alpha", "✓", "✗ beta", "✓", "beta", "✓", "✓", "✓"]
    frames = [patch.get_edgecolor() for patch in figure.axes[0].patches]
    of_color = {color: sum(frame == to_rgba(color) for frame in frames) for color in (GREEN, RED)}
    assert of_color == {GREEN: 5, RED: 1}


def test_an_episode_is_cut_to_what_is_asked_for_and_leaves_padding_out():
    inputs, query_y = episode()
    inputs["support_mask"] = np.array([[True, False, True, True]] * 2)
    figure = plot_episode(inputs, query_y, max_shot=1, max_query=2)
    assert len(figure.axes[0].images) == 2 * (1 + 2)
    assert title(figure) == "2-way 1 to 2-shot"


def test_float_pictures_are_stretched_to_the_grey_scale():
    inputs, query_y = episode(dtype="float32")
    inputs["support_x"] = inputs["support_x"] * 10.0 - 3.0
    shown = [image.get_array() for image in plot_episode(inputs, query_y).axes[0].images]
    assert min(x.min() for x in shown) == 0.0
    assert max(x.max() for x in shown) == 1.0


def test_an_episode_without_pictures_or_names_is_refused():
    inputs, query_y = episode(shape=(3,))
    with pytest.raises(ValueError, match="must hold pictures"):
        plot_episode(inputs, query_y)
    with pytest.raises(ValueError, match="Received: 1 names"):
        plot_episode(*episode(), class_names=["alpha"])


def test_adaptation_of_means_and_of_episodes(tmp_path):
    path = tmp_path / "adaptation.png"
    per_episode = np.array([[0.2, 0.8, 0.9], [0.4, 0.6, 1.0]])
    figure = plot_adaptation({"MAML": per_episode, "other": [0.2, 0.5, 0.7]}, save=path)
    (ax,) = figure.axes
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [30.0, 70.0, 95.0])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [20.0, 50.0, 70.0])
    half_width = 100 * mean_interval(per_episode[:, 1])[1]
    edges = ax.collections[0].get_paths()[0].vertices
    assert np.isclose(edges, 70.0 + half_width).any()
    assert ax.get_ylabel() == "query accuracy (%)"
    assert path.read_bytes().startswith(PNG)


def test_adaptation_reads_the_logs_of_evaluate():
    logs = {"loss": 0.3, "mse@0": 3.0, "mse@2": 0.5, "mse@1": 1.0}
    (line,) = plot_adaptation(logs, metric="mse").axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), [3.0, 1.0, 0.5])


@pytest.mark.parametrize("values", [[], 0.5, [[0.1, 0.2]]])
def test_adaptation_refuses_other_values(values):
    with pytest.raises(ValueError, match="`values` must be"):
        plot_adaptation(values)


def test_history_has_a_panel_per_quantity(tmp_path):
    path = tmp_path / "history.png"
    curves = {
        "loss": [1.0, 0.5],
        "val_loss": [1.1, 0.7],
        "val_acc@0": [0.2, 0.2],
        "val_acc@1": [0.6, 0.8],
    }

    class History:
        history = curves

    figure = plot_history(History(), save=path)
    assert [ax.get_title() for ax in figure.axes] == ["loss", "acc@k"]
    training, validation = figure.axes[0].lines
    np.testing.assert_array_equal(training.get_xydata(), [[1, 1.0], [2, 0.5]])
    np.testing.assert_array_equal(validation.get_ydata(), [1.1, 0.7])
    assert [line.get_label() for line in figure.axes[1].lines] == ["val_acc@0", "val_acc@1"]
    assert path.read_bytes().startswith(PNG)


@pytest.mark.parametrize("history", [{}, {"loss": []}])
def test_an_empty_history_is_refused(history):
    with pytest.raises(ValueError, match="at least one epoch"):
        plot_history(history)


def test_regression_is_drawn_in_the_order_of_x(tmp_path):
    path = tmp_path / "sinusoid.png"
    x = np.array([[2.0], [0.0], [1.0]])
    after = {"1 step": x + 1, "10 steps": x + 2}
    figure = plot_regression(x, 2 * x, 0 * x, after, x[:2], x[:2] ** 2, save=path)
    truth, before, one, ten, support = figure.axes[0].lines
    np.testing.assert_array_equal(truth.get_xydata(), [[0, 0], [1, 2], [2, 4]])
    np.testing.assert_array_equal(before.get_ydata(), [0, 0, 0])
    np.testing.assert_array_equal(one.get_ydata(), [1, 2, 3])
    np.testing.assert_array_equal(ten.get_ydata(), [2, 3, 4])
    np.testing.assert_array_equal(support.get_xydata(), [[2, 4], [0, 0]])
    assert path.read_bytes().startswith(PNG)


@pytest.mark.parametrize("values", [[0.5, 0.5], [0.2, 0.4, 0.8], np.linspace(0, 1, 100) ** 2])
def test_a_report_is_drawn_with_all_its_episodes(values, tmp_path):
    mean, ci = mean_interval(np.array(values))
    report = EpisodeReport(
        mean=mean,
        ci=ci,
        n_episodes=len(values),
        per_episode=np.array(values),
        metric="accuracy",
        statistics="inductive",
        episode_hash="c0ffee",
        name="MAML",
    )
    figure = report.plot()
    (ax,) = figure.axes
    assert ax.get_title() == f"MAML\n{report}"
    bars = [patch.get_height() for patch in ax.containers[0]]
    assert sum(bars) == len(values)
    np.testing.assert_allclose(ax.lines[0].get_xdata(), 100 * mean)
    assert plot_report(report, ax=ax, save=tmp_path / "report.png") is figure


def test_a_forecast_goes_on_where_the_past_ends(tmp_path):
    path = tmp_path / "forecast.png"
    figure = plot_forecast(
        np.arange(10.0), {"ours": [10.0, 12.0]}, future=[10.0, 11.0], last=4, title="a", save=path
    )
    lines = {line.get_label(): line.get_xydata() for line in figure.axes[0].lines}
    np.testing.assert_array_equal(lines["past"], [[t, t] for t in (6, 7, 8, 9)])
    np.testing.assert_array_equal(lines["what followed"], [[10, 10], [11, 11]])
    np.testing.assert_array_equal(lines["ours"], [[10, 10], [11, 12]])
    assert path.read_bytes()[:4] == PNG
