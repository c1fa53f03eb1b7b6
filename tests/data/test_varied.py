"""Variable way and shot, groups and unknown classes, on the sampler."""

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.data import Examples
from tfmeta.data.class_table import class_table
from tfmeta.data.sampler import draw_episodes
from tfmeta.data.sizes import episode_sizes
from tfmeta.data.sources import as_sources
from tfmeta.data.varied import draw_varied_episodes

N_QUERY = 2


def make_examples(counts, groups=None, seed=0):
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    return Examples(np.arange(len(y), dtype=np.int64)[:, None], y, groups=groups)


def draw(source, n_way, n_shot, n=200, *, seed=0, n_query=N_QUERY, **options):
    """NumPy rows of the first episodes."""
    names = ("weights", "query_source")
    sources = as_sources(source, **{k: options.pop(k) for k in names if k in options})
    within_group = options.pop("within_group", False)
    sizes = episode_sizes(n_way, n_shot, n_query, **options)
    table = class_table(sources, sizes, within_group=within_group)
    numbers = tf.range(n, dtype=tf.int64)
    drawn = draw_varied_episodes(seed, numbers, table=table, sizes=sizes)
    return type(drawn)(*(value.numpy() for value in drawn))


def shots_of(drawn, n_way):
    """`[tasks, most_way]`: support examples of each label."""
    return drawn.support_mask.reshape(len(drawn.classes), n_way, -1).sum(axis=2)


def assert_uniform(values, least, most):
    counts = np.bincount(values.ravel() - least, minlength=most - least + 1)
    expected = values.size / (most - least + 1)
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert len(counts) == most - least + 1
    assert abs(statistic - (most - least)) / np.sqrt(2 * (most - least)) < 4


def test_fixed_sizes_are_the_episodes_of_the_fixed_sampler():
    examples = make_examples([4, 7, 5, 9, 6])
    fixed = draw_episodes(
        3,
        tf.range(200, dtype=tf.int64),
        class_counts=tf.constant(examples.class_counts, tf.int64),
        rows_by_class=tf.constant(examples.rows_by_class),
        n_way=3,
        n_shot=2,
        n_query=N_QUERY,
    )
    varied = draw(examples, 3, 2, seed=3)
    assert varied.support_mask.all() and varied.query_mask.all()
    for wanted, got in zip(fixed, varied, strict=False):
        np.testing.assert_array_equal(wanted, got)


@pytest.mark.parametrize("balanced", [True, False])
def test_every_episode_is_right_and_shots_are_capped(balanced):
    counts = np.array([3, 4, 5, 9, 12, 20])
    examples = make_examples(counts)
    drawn = draw(examples, (2, 5), (1, 6), balanced=balanced)
    shots = shots_of(drawn, 5)
    for i in range(len(drawn.classes)):
        s, q = drawn.support_mask[i], drawn.query_mask[i]
        s_rows, q_rows = drawn.support_rows[i][s], drawn.query_rows[i][q]
        classes = drawn.classes[i][drawn.classes[i] >= 0]
        assert 2 <= len(classes) == len(set(classes)) <= 5
        assert len(set(s_rows) | set(q_rows)) == len(s_rows) + len(q_rows)
        np.testing.assert_array_equal(examples.y[s_rows], classes[drawn.support_y[i][s]])
        np.testing.assert_array_equal(examples.y[q_rows], classes[drawn.query_y[i][q]])
        assert np.bincount(drawn.query_y[i][q]).tolist() == [N_QUERY] * len(classes)
        own = shots[i, : len(classes)]
        assert (own >= 1).all() and (own <= counts[classes] - N_QUERY).all()
        assert not balanced or len(set(own)) == 1
        assert (drawn.support_rows[i][~s] == drawn.support_rows[i][0]).all()
        assert (drawn.query_y[i][~q] == 0).all() and (drawn.support_y[i][~s] == 0).all()
    assert balanced or shots.max() == 6
    assert balanced or any(len(set(own[own > 0])) > 1 for own in shots)


def test_ways_and_shots_are_uniform_in_their_ranges():
    examples = make_examples([12] * 8)
    drawn = draw(examples, (3, 7), (2, 5), n=6000)
    ways = (drawn.classes >= 0).sum(axis=1)
    assert_uniform(ways, 3, 7)
    assert_uniform(shots_of(drawn, 7)[:, 0], 2, 5)
    unequal = shots_of(draw(examples, 4, (2, 5), n=6000, balanced=False), 4)
    assert_uniform(unequal, 2, 5)
    assert abs(np.corrcoef(unequal[:, 0], unequal[:, 1])[0, 1]) < 0.05
    assert abs(np.corrcoef(ways, shots_of(drawn, 7)[:, 0])[0, 1]) < 0.05


def test_a_balanced_shot_is_capped_by_the_smallest_class_of_its_episode():
    drawn = draw(make_examples([4, 4, 20, 20]), 2, (1, 8), n=400)
    shots = shots_of(drawn, 2)
    small = (drawn.classes < 2).any(axis=1)
    assert shots[small].max() == 2 and shots[~small].max() == 8


def test_groups_are_drawn_by_their_number_of_classes():
    groups = ["a", "b", "a", "b", "b", "b", "c", "c"]
    drawn = draw(make_examples([5] * 8, groups), 2, 1, n=4000, within_group=True)
    of_classes = np.array(groups)[drawn.classes]
    assert (of_classes[:, :1] == of_classes).all()
    shares = [np.mean(of_classes[:, 0] == group) for group in "abc"]
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.03)
    used = np.bincount(drawn.classes.ravel(), minlength=8) / drawn.classes.size
    np.testing.assert_allclose(used, 1 / 8, atol=0.015)


def test_the_way_is_capped_by_the_group():
    groups = ["a"] * 3 + ["b"] * 6
    drawn = draw(make_examples([5] * 9, groups), (2, 5), 1, within_group=True, n_unknown=1)
    ways = (drawn.classes[:, :5] >= 0).sum(axis=1)
    first = drawn.classes[:, 0] < 3
    assert set(ways[first]) == {2} and set(ways[~first]) == {2, 3, 4, 5}
    assert all(len(set(c[c >= 0])) == (c >= 0).sum() for c in drawn.classes)


@pytest.mark.parametrize(("n_way", "n_shot"), [(3, 2), ((2, 4), (1, 3))])
def test_unknown_classes_are_new_ones_and_change_nothing_else(n_way, n_shot):
    examples = make_examples([6] * 7)
    closed, opened = draw(examples, n_way, n_shot), draw(examples, n_way, n_shot, n_unknown=2)
    most_way = 3 if n_way == 3 else 4
    n_known = most_way * N_QUERY
    for name in ("support_rows", "support_y", "support_mask"):
        np.testing.assert_array_equal(getattr(closed, name), getattr(opened, name))
    for name in ("query_rows", "query_y", "query_mask"):
        np.testing.assert_array_equal(getattr(closed, name), getattr(opened, name)[:, :n_known])
    assert (opened.query_y[:, n_known:] == -1).all() and opened.query_mask[:, n_known:].all()
    unknown = opened.classes[:, most_way:]
    np.testing.assert_array_equal(
        examples.y[opened.query_rows[:, n_known:]], np.repeat(unknown, N_QUERY, axis=1)
    )
    for classes, rows in zip(opened.classes, opened.query_rows[:, n_known:], strict=True):
        classes = classes[classes >= 0]
        assert len(set(classes)) == len(classes) and len(set(rows)) == len(rows)


def test_sources_by_weight_and_an_episode_from_one():
    first, second = make_examples([5] * 4), make_examples([5] * 9, seed=1)
    drawn = draw([first, second], 3, 1, n=4000, weights=[7, 3])
    from_second = drawn.classes >= 4
    assert (from_second == from_second[:, :1]).all()
    np.testing.assert_array_equal(drawn.support_rows >= len(first), from_second)
    np.testing.assert_allclose(from_second.mean(), 0.3, atol=0.03)
    labels = np.concatenate([first.y, 4 + second.y])
    np.testing.assert_array_equal(labels[drawn.support_rows], drawn.classes)


def test_two_domains_are_matched_by_class_name():
    source = make_examples([4, 6, 5])
    y = np.repeat([0, 1, 2], [3, 8, 4])
    other = Examples(np.zeros([len(y), 1], np.int64), y, class_names=["2", "0", "1"])
    drawn = draw(source, (2, 3), (1, 5), query_source=other, n_query=3)
    names = np.array(other.class_names)[other.y]
    for i, classes in enumerate(drawn.classes.tolist()):
        s, q = drawn.support_mask[i], drawn.query_mask[i]
        known = np.array(classes)[drawn.query_y[i][q]]
        assert names[drawn.query_rows[i][q]].tolist() == [str(c) for c in known]
        support = np.array(classes)[drawn.support_y[i][s]]
        np.testing.assert_array_equal(source.y[drawn.support_rows[i][s]], support)
        assert len(set(drawn.query_rows[i][q])) == q.sum()
        assert len(set(drawn.support_rows[i][s])) == s.sum()


def test_an_episode_is_a_function_of_its_number_and_the_seed():
    examples = make_examples([6] * 8, ["a", "b"] * 4)
    options = {"within_group": True, "balanced": False, "n_unknown": 1}
    together = draw(examples, (2, 3), (1, 4), n=30, **options)
    shorter = draw(examples, (2, 3), (1, 4), n=7, **options)
    other = draw(examples, (2, 3), (1, 4), n=30, seed=1, **options)
    for a, b in zip(together, shorter, strict=True):
        np.testing.assert_array_equal(a[:7], b)
    assert (together.query_rows != other.query_rows).any()
