import numpy as np
import pytest
import tensorflow as tf

from tfmeta.data import RandomAffine, episode_dataset, from_arrays


def pictures(side=8):
    draws = np.random.default_rng(0)
    return tf.constant(draws.integers(0, 256, (2, 3, side, side, 1)), tf.uint8)


def still(**limits):
    return RandomAffine(**{"rotation": 0.0, "scale": 0.0, "shear": 0.0, "shift": 0.0, **limits})


def test_it_is_a_function_of_seed_and_episode():
    distort, x = RandomAffine(), pictures()
    both = distort(x, seed=3, episodes=tf.constant([5, 6]))
    second = distort(x[1:], seed=3, episodes=tf.constant([6]))
    np.testing.assert_array_equal(both[1:], second)
    assert np.any(both != distort(x, seed=4, episodes=tf.constant([5, 6])))
    assert np.any(both != distort(x, seed=3, episodes=tf.constant([6, 5])))


def test_pictures_of_an_episode_are_distorted_each_on_its_own():
    x = tf.tile(pictures()[:, :1], [1, 3, 1, 1, 1])
    distorted = RandomAffine()(x, seed=0, episodes=tf.constant([0, 1])).numpy()
    assert distorted.dtype == np.uint8
    assert not np.array_equal(distorted[0, 0], distorted[0, 1])
    assert not np.array_equal(distorted[0, 0], distorted[1, 0])


def test_a_shift_moves_by_at_most_its_limit():
    x = np.zeros((1, 50, 21, 21, 1), np.float32)
    x[:, :, 10, 10] = 1.0
    moved = still(shift=2 / 21)(tf.constant(x), seed=0, episodes=tf.constant([0])).numpy()[
        0, ..., 0
    ]
    places = np.arange(21)
    rows = (moved.sum(2) * places).sum(1) - 10
    columns = (moved.sum(1) * places).sum(1) - 10
    np.testing.assert_allclose(moved.sum((1, 2)), 1.0, atol=1e-4)
    for shift in (rows, columns):
        assert np.abs(shift).max() <= 2 + 1e-4
        assert np.abs(shift).max() > 1.5
        assert abs(shift.mean()) < 0.5


def test_a_turn_keeps_the_distance_to_the_centre():
    x = np.zeros((1, 40, 21, 21, 1), np.float32)
    x[:, :, 10, 16] = 1.0
    turned = still(rotation=45.0)(tf.constant(x), seed=0, episodes=tf.constant([0])).numpy()
    turned = turned[0, ..., 0]
    places = np.arange(21) - 10
    mass = turned.sum((1, 2))
    row = (turned.sum(2) * places).sum(1) / mass
    column = (turned.sum(1) * places).sum(1) / mass
    np.testing.assert_allclose(np.hypot(row, column), 6.0, atol=0.3)
    assert np.ptp(np.degrees(np.arctan2(row, column))) > 60


def test_episodes_resume_with_their_distortion():
    x = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1), dtype=np.uint8)
    examples = from_arrays(x, np.repeat(np.arange(4), 6))
    sizes = {"n_way": 3, "n_shot": 1, "n_query": 2, "augment": RandomAffine()}
    whole = list(episode_dataset(examples, n_tasks=2, n_episodes=4, **sizes))
    resumed = list(episode_dataset(examples, n_tasks=1, start=2, n_episodes=2, **sizes))
    for key in ("support_x", "query_x"):
        again = np.concatenate([inputs[key] for inputs, _ in resumed])
        np.testing.assert_array_equal(whole[1][0][key], again)
    assert whole[0][0]["support_x"].shape == (2, 3, 8, 8, 1)
    plain = next(iter(episode_dataset(examples, **{**sizes, "augment": None})))
    assert np.any(plain[0]["query_x"][0] != whole[0][0]["query_x"][0])


def test_wrong_use():
    with pytest.raises(ValueError, match="must not be negative"):
        RandomAffine(shift=-0.1)
    with pytest.raises(ValueError, match="Received: RandomAffine"):
        RandomAffine(fill="wrap")
    with pytest.raises(ValueError, match="needs pictures"):
        RandomAffine()(tf.zeros([1, 2, 5]), seed=0, episodes=tf.constant([0]))
