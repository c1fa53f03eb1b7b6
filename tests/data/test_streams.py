"""Streams: balanced, mixed, labelled anew, and a function of the seed and the number."""

import numpy as np
import pytest

from tfmeta.data import Examples, stream_dataset

EXAMPLES = Examples(np.arange(60, dtype="float32")[:, None], np.repeat(np.arange(6), 10))
SIZES = {"n_way": 3, "n_presentations": 5}


def drawn(n=8, **options):
    data = stream_dataset(EXAMPLES, n_tasks=n, n_episodes=n, **{**SIZES, **options})
    inputs, y = next(iter(data))
    np.testing.assert_array_equal(inputs["stream_y"], y)
    return inputs["stream_x"].numpy()[..., 0], y.numpy()


def test_every_class_comes_as_often_with_different_examples():
    x, y = drawn()
    assert x.shape == y.shape == (8, 15)
    for stream, labels in zip(x, y, strict=True):
        assert np.bincount(labels).tolist() == [5, 5, 5]
        assert len(set(stream)) == 15
        classes = [set(stream[labels == k] // 10) for k in range(3)]
        assert [len(c) for c in classes] == [1, 1, 1] and len(set.union(*classes)) == 3


def test_the_order_is_another_one_in_every_stream():
    _, y = drawn(64)
    assert len({tuple(labels) for labels in y}) == 64
    # Each place has each label about as often.
    assert np.abs((y == 0).mean(axis=0) - 1 / 3).max() < 0.2


def test_labels_do_not_belong_to_classes():
    x, y = drawn(64)
    labels_of_first = {int(y[i, j]) for i, j in zip(*np.where(x // 10 == 0), strict=True)}
    assert labels_of_first == {0, 1, 2}


def test_a_stream_is_a_function_of_seed_and_number():
    x, _ = drawn(8)
    np.testing.assert_array_equal(drawn(8)[0], x)
    np.testing.assert_array_equal(drawn(3, start=5)[0], x[5:])
    assert not np.array_equal(drawn(8, seed=1)[0], x)


def test_bad_arguments():
    with pytest.raises(ValueError, match="`n_presentations` must be an integer of at least 2"):
        stream_dataset(EXAMPLES, n_presentations=1)
    with pytest.raises(ValueError, match=r"neither support nor query.*n_shot"):
        stream_dataset(EXAMPLES, n_shot=2)
    with pytest.raises(ValueError, match="`n_way` must be an integer"):
        stream_dataset(EXAMPLES, n_way=(2, 3))
