import math

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.data import episode_dataset, episode_hash, sinusoids


def sample(n=2000, **ranges):
    family = sinusoids(**ranges)
    episodes = tf.range(n, dtype=tf.int64)
    return family.parameters(0, episodes), family.sample(0, episodes, 10, 15)


def test_values_are_amplitude_times_sine_of_x_minus_phase():
    (amplitude, phase), (support_x, support_y, query_x, query_y) = sample()
    amplitude, phase = amplitude.numpy()[:, None, None], phase.numpy()[:, None, None]
    np.testing.assert_allclose(support_y, amplitude * np.sin(support_x - phase), atol=1e-5)
    np.testing.assert_allclose(query_y, amplitude * np.sin(query_x - phase), atol=1e-5)
    assert support_x.shape == support_y.shape == (2000, 10, 1)
    assert query_x.shape == query_y.shape == (2000, 15, 1)
    assert support_x.dtype == support_y.dtype == tf.float32


@pytest.mark.parametrize(
    "ranges", [{}, {"amplitude": (1.0, 2.0), "phase": (-1.0, 1.0), "x": (0.0, 8.0)}]
)
def test_draws_are_uniform_in_their_ranges(ranges):
    (amplitude, phase), (x, *_) = sample(**ranges)
    expected = {"amplitude": (0.1, 5.0), "phase": (0.0, math.pi), "x": (-5.0, 5.0)} | ranges
    for values, (low, high) in zip((amplitude, phase, x), expected.values(), strict=True):
        values = (values.numpy() - low) / (high - low)
        assert 0 <= values.min() < 0.01 and 0.99 < values.max() <= 1
        assert abs(values.mean() - 0.5) < 0.03 and abs(values.std() - 12**-0.5) < 0.02
    assert abs(np.corrcoef(amplitude, phase)[0, 1]) < 0.1


def test_dataset_of_regression_episodes():
    options = {"n_shot": 10, "n_query": 4, "n_tasks": 3, "seed": 5}
    dataset = episode_dataset(sinusoids(), **options)
    inputs, query_y = next(iter(dataset.skip(2)))
    resumed = next(iter(episode_dataset(sinusoids(), start=6, **options)))
    assert inputs["episode"].numpy().tolist() == [6, 7, 8]
    assert inputs["support_y"].shape == (3, 10, 1) and query_y.shape == (3, 4, 1)
    assert dataset.element_spec[1].shape == (3, 4, 1)
    tf.nest.map_structure(np.testing.assert_array_equal, (inputs, query_y), resumed)


def test_values_do_not_depend_on_the_batch():
    hashes = {
        episode_hash(episode_dataset(sinusoids(), n_shot=5, n_query=4, n_tasks=n_tasks), 200)
        for n_tasks in (1, 7, 200)
    }
    assert len(hashes) == 1


def test_points_of_a_task_are_distinct_draws():
    _, (support_x, _, query_x, _) = sample(n=50)
    points = np.concatenate([support_x, query_x], axis=1)[..., 0]
    assert all(len(set(row)) == 25 for row in points)


@pytest.mark.parametrize("ranges", [{"phase": (1.0, 1.0)}, {"x": (0.0, math.inf)}, {"x": (1,)}])
def test_refuses_wrong_ranges(ranges):
    with pytest.raises(ValueError, match=f"`{next(iter(ranges))}` must be"):
        sinusoids(**ranges)
