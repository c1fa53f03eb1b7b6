"""Pictures of memory networks."""

import numpy as np
import pytest

from tfmeta.plots import plot_gates, plot_instances, plot_memory


def test_heat_maps_show_slots_over_steps(tmp_path):
    reads = np.zeros((4, 2, 3))
    reads[1, 0, 2], reads[1, 1, 2] = 0.25, 0.5
    figure = plot_memory(reads, reads[:, 0], labels="abcd", save=tmp_path / "memory.png")
    shown = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert [image.shape for image in shown[:2]] == [(3, 4), (3, 4)]
    # Writes first; heads are added up.
    assert shown[0][2, 1] == 0.25 and shown[1][2, 1] == 0.75
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == list("abcd")
    assert (tmp_path / "memory.png").stat().st_size > 0
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        plot_memory(np.zeros(3), reads)


def test_gates_are_three_maps():
    gates = np.concatenate([np.full((5, 2), share) for share in (0.1, 0.5, 0.9)], axis=1)
    figure = plot_gates(gates)
    shown = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    np.testing.assert_allclose([image.mean() for image in shown[:3]], [0.1, 0.5, 0.9])
    with pytest.raises(ValueError, match="3 units"):
        plot_gates(np.zeros((2, 5, 6)))


def test_instances_are_counted_from_one():
    figure = plot_instances({"a": ([0.2, 0.8], [0.1, 0.1]), "b": ([0.2, 0.5], None)}, chance=0.2)
    ax = figure.axes[0]
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [1, 2])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [20, 80])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b", "chance"]
