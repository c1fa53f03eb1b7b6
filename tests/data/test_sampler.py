from itertools import permutations

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.data.sampler import (
    distinct_integers,
    draw_episodes,
    random_bits,
    random_integers,
    random_uniform,
)

MASK = (1 << 64) - 1


def numbers(n, start=0):
    return tf.range(start, start + n, dtype=tf.int64)


def splitmix64(state, n):
    """The reference implementation: n outputs from a state."""
    words = []
    for _ in range(n):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        words.append(z ^ (z >> 31))
    return words


def chi_square_z(values, n):
    """How many standard deviations the chi-square statistic of n equal cells is off."""
    counts = np.bincount(values, minlength=n)
    expected = len(values) / n
    statistic = ((counts - expected) ** 2 / expected).sum()
    return (statistic - (n - 1)) / np.sqrt(2 * (n - 1))


def fisher_yates(words, size):
    """Places 0 ... k - 1 of a shuffle, by really swapping in an array."""
    array = list(range(size))
    for j, word in enumerate(words):
        other = j + ((word >> 32) * (size - j) >> 32)
        array[j], array[other] = array[other], array[j]
    return array[: len(words)]


def test_published_splitmix64_outputs():
    # First outputs for the state 1234567, from the published C code.
    assert splitmix64(1234567, 2) == [6457827717110365317, 3203168211198807973]


@pytest.mark.parametrize("seed", [0, 7, 2**63])
def test_bits_are_splitmix64_started_anew_for_every_episode(seed):
    key = splitmix64(seed * 0x9E3779B97F4A7C15 & MASK, 1)[0]
    bits = random_bits(seed, numbers(3, start=5), 4).numpy()
    for i, row in zip(range(5, 8), bits, strict=True):
        start = splitmix64(key + (i - 1) * 0x9E3779B97F4A7C15 & MASK, 1)[0]
        assert row.tolist() == splitmix64(start, 4)


def test_distinct_integers_equal_an_explicit_shuffle():
    bits = random_bits(3, numbers(50), 6)
    sizes = np.arange(50) % 9 + 6
    drawn = distinct_integers(bits, tf.constant(sizes)).numpy()
    for words, size, row in zip(bits.numpy().tolist(), sizes.tolist(), drawn, strict=True):
        assert row.tolist() == fisher_yates(words, size)


@pytest.mark.parametrize("size", [3, 5, 16, 20, 200])
def test_draws_are_uniform_at_every_place_and_over_consecutive_episodes(size):
    k = min(size, 4)
    drawn = distinct_integers(random_bits(0, numbers(20000), k), tf.constant(size)).numpy()
    assert drawn.min() == 0 and drawn.max() == size - 1
    assert (np.diff(np.sort(drawn, axis=1), axis=1) > 0).all()
    assert all(abs(chi_square_z(drawn[:, place], size)) < 4 for place in range(k))
    assert abs(chi_square_z(drawn[:-1, 0] * size + drawn[1:, 0], size**2)) < 4


def test_all_orders_are_equally_likely():
    drawn = distinct_integers(random_bits(1, numbers(24000), 4), tf.constant(4)).numpy()
    index = {order: i for i, order in enumerate(permutations(range(4)))}
    assert abs(chi_square_z([index[tuple(row)] for row in drawn.tolist()], 24)) < 4


def test_integers_and_floats_from_the_extreme_words():
    bits = tf.constant([0, 2**64 - 1, 2**63], tf.uint64)
    assert random_integers(bits, tf.constant(10)).numpy().tolist() == [0, 9, 5]
    uniform = random_uniform(bits, -1.0, 3.0).numpy()
    assert uniform[0] == -1.0 and uniform[2] == 1.0 and 2.99 < uniform[1] < 3.0


def draw(episodes, counts=(4, 7, 5, 9, 6), **options):
    options = {"n_way": 3, "n_shot": 1, "n_query": 3} | options
    n = sum(counts)
    rows = np.random.default_rng(0).permutation(n)  # row numbers of class 0, then 1, ...
    drawn = draw_episodes(
        options.pop("seed", 0),
        episodes,
        class_counts=tf.constant(counts, tf.int64),
        rows_by_class=tf.constant(rows, tf.int64),
        **options,
    )
    class_of_row = np.empty(n, int)
    class_of_row[rows] = np.repeat(np.arange(len(counts)), counts)
    return drawn, class_of_row


def test_classes_distinct_rows_disjoint_and_labels_right():
    drawn, class_of_row = draw(numbers(300))
    assert drawn.support_rows.shape == (300, 3) and drawn.query_rows.shape == (300, 9)
    assert drawn.support_y.dtype == drawn.query_y.dtype == tf.int32
    for classes, s_rows, s_y, q_rows, q_y in zip(
        *(drawn[i].numpy() for i in (4, 0, 1, 2, 3)), strict=True
    ):
        assert len(set(classes)) == 3
        assert len(set(s_rows) | set(q_rows)) == 12
        assert (class_of_row[s_rows] == classes[s_y]).all()
        assert (class_of_row[q_rows] == classes[q_y]).all()
        assert np.bincount(s_y).tolist() == [1, 1, 1] and np.bincount(q_y).tolist() == [3, 3, 3]


def test_every_class_gets_every_label_and_every_row_is_drawn():
    drawn, class_of_row = draw(numbers(6000))
    classes = drawn.classes.numpy()
    assert all(abs(chi_square_z(classes[:, label], 5)) < 4 for label in range(3))
    assert set(drawn.support_rows.numpy().ravel()) == set(range(len(class_of_row)))


def test_an_episode_depends_on_its_number_and_the_seed_only():
    together, _ = draw(numbers(20))
    alone, _ = draw(tf.constant([13], tf.int64))
    other, _ = draw(tf.constant([13], tf.int64), seed=1)
    in_graph = tf.function(lambda i: draw(i)[0])(numbers(20))
    for one, all_of_them, graph in zip(alone, together, in_graph, strict=True):
        assert (one.numpy()[0] == all_of_them.numpy()[13]).all()
        assert (graph.numpy() == all_of_them.numpy()).all()
    assert (alone.query_rows.numpy() != other.query_rows.numpy()).any()
