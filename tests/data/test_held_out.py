import numpy as np
import pytest

from tfmeta.data import Examples, split_examples


@pytest.fixture
def examples():
    y = np.array([0, 1, 2, 0, 1, 2, 0, 0, 1, 2, 2, 2])
    return Examples(np.arange(12.0)[:, np.newaxis], y, groups=["a", "a", "b"])


def test_each_example_is_in_one_part_with_its_class(examples):
    some, others = split_examples(examples, 2)
    both = np.concatenate([some.x, others.x])[:, 0]
    assert sorted(both) == list(range(12))
    labels = np.concatenate([some.y, others.y])
    assert (labels == examples.y[both.astype(int)]).all()
    assert list(some.class_counts) == [2, 2, 2]
    assert some.groups == others.groups == ("a", "a", "b")


def test_a_smaller_part_is_in_a_larger_one_of_the_same_seed(examples):
    one, two = (split_examples(examples, n, seed=3)[0] for n in (1, 2))
    assert set(one.x[:, 0]) < set(two.x[:, 0])


def test_seeds_give_other_parts(examples):
    parts = {tuple(split_examples(examples, 2, seed=s)[0].x[:, 0]) for s in range(5)}
    assert len(parts) > 1


def test_paths_stay_paths(tmp_path):
    lazy = Examples(["a.png", "b.png"] * 2, [0, 0, 1, 1], image_size=(4, 4), turns=[0, 1, 2, 3])
    some, others = split_examples(lazy, 1)
    assert some.is_lazy and sorted([*some.turns, *others.turns]) == [0, 1, 2, 3]


def test_bad_input(examples):
    with pytest.raises(ValueError, match=r"more than `n_each`.*n_each=3 and class '1' with 3"):
        split_examples(examples, 3)
    with pytest.raises(ValueError, match="at least 1"):
        split_examples(examples, 0)
