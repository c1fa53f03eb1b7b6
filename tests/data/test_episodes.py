import numpy as np
import pytest
import tensorflow as tf

from tfmeta.data import Examples, episode_dataset, episode_hash, sinusoids
from tfmeta.data.hashing import EpisodeHash

N_WAY, N_SHOT, N_QUERY = 3, 2, 3
OPTIONS = {"n_way": N_WAY, "n_shot": N_SHOT, "n_query": N_QUERY}


@pytest.fixture
def examples():
    """Six classes with 5 to 10 examples in mixed order; every picture names its row."""
    y = np.repeat(np.arange(6), np.arange(5, 11))
    y = np.random.default_rng(0).permutation(y)
    x = np.arange(len(y), dtype=np.uint8)[:, None, None, None] * np.ones([1, 4, 4, 1], np.uint8)
    return Examples(x, y, class_names=list("abcdef"))


def episodes_of(dataset):
    """List of (episode number, support_x, support_y, query_x, query_y)."""
    keys = ("episode", "support_x", "support_y", "query_x")
    return [
        episode
        for inputs, query_y in dataset.as_numpy_iterator()
        for episode in zip(*(inputs[key] for key in keys), query_y, strict=True)
    ]


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left, right)


def test_shapes_dtypes_and_pictures(examples):
    dataset = episode_dataset(examples, n_tasks=4, n_episodes=8, **OPTIONS)
    inputs_spec, query_spec = dataset.element_spec
    assert inputs_spec["support_x"] == tf.TensorSpec([4, 6, 4, 4, 1], tf.uint8)
    assert inputs_spec["support_y"] == tf.TensorSpec([4, 6], tf.int32)
    assert inputs_spec["query_x"] == tf.TensorSpec([4, 9, 4, 4, 1], tf.uint8)
    assert inputs_spec["episode"] == tf.TensorSpec([4], tf.int64)
    assert query_spec == tf.TensorSpec([4, 9], tf.int32)
    assert dataset.cardinality() == 2
    for number, (i, s_x, s_y, q_x, q_y) in enumerate(episodes_of(dataset)):
        assert i == number
        rows = np.concatenate([s_x[:, 0, 0, 0], q_x[:, 0, 0, 0]])
        labels = np.concatenate([s_y, q_y])
        assert len(set(rows)) == len(rows)
        classes = [set(examples.y[rows[labels == label]]) for label in range(N_WAY)]
        assert all(len(c) == 1 for c in classes) and len(set.union(*classes)) == N_WAY


@pytest.mark.parametrize("n_tasks", [1, 3, 200])
def test_episodes_do_not_depend_on_the_batches(examples, n_tasks):
    one = episodes_of(episode_dataset(examples, n_episodes=201, seed=4, **OPTIONS))
    batched = episode_dataset(examples, n_episodes=201, seed=4, n_tasks=n_tasks, **OPTIONS)
    assert batched.cardinality() == -(-201 // n_tasks)
    assert_same(episodes_of(batched), one)


def test_start_resumes_exactly(examples):
    whole = episode_dataset(examples, n_tasks=2, **OPTIONS)
    resumed = episode_dataset(examples, n_tasks=2, start=10, **OPTIONS)
    assert whole.cardinality() == tf.data.INFINITE_CARDINALITY
    assert_same(episodes_of(resumed.take(70)), episodes_of(whole.skip(5).take(70)))


def test_seeds_differ_and_repeat(examples):
    first, again, other = (
        episode_hash(episode_dataset(examples, seed=seed, **OPTIONS), 20) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_lazy_examples_give_the_same_episodes(tmp_path, examples):
    paths = [str(tmp_path / f"{i}.png") for i in range(len(examples))]
    for path, picture in zip(paths, examples.x, strict=True):
        tf.io.write_file(path, tf.io.encode_png(picture))
    lazy = Examples(paths, examples.y, image_size=(4, 4), channels=1)
    options = {"n_episodes": 5, "n_tasks": 2, **OPTIONS}
    assert_same(
        episodes_of(episode_dataset(lazy, **options)),
        episodes_of(episode_dataset(examples, **options)),
    )


def test_hash_sees_content_and_order_but_not_batches(examples):
    def hashed(n_tasks, n_episodes=6, **options):
        dataset = episode_dataset(examples, n_tasks=n_tasks, **OPTIONS, **options)
        return episode_hash(dataset, n_episodes)

    assert hashed(1) == hashed(4) == hashed(6)
    assert len(hashed(1)) == 16 and int(hashed(1), 16)
    batches = list(episode_dataset(examples, n_episodes=6, **OPTIONS))
    assert episode_hash(batches) == hashed(1) != episode_hash(batches[::-1])
    assert hashed(1, 5) != hashed(1) != hashed(1, start=1)


def test_hash_leaves_padding_out():
    rng = np.random.default_rng(0)
    inputs = {
        "support_x": rng.normal(size=[2, 4, 3]),
        "support_y": np.array([[0, 1, 0, 1]] * 2),
        "query_x": rng.normal(size=[2, 5, 3]),
    }
    query_y = np.zeros([2, 5], np.int32)
    padded = dict(inputs)
    for key in ("support_x", "support_y"):
        padded[key] = np.concatenate([inputs[key], inputs[key][:, :1]], axis=1)
    padded["support_mask"] = np.array([[True] * 4 + [False]] * 2)
    plain, masked, unmasked = EpisodeHash(), EpisodeHash(), EpisodeHash()
    plain.update(inputs, query_y)
    masked.update(padded, query_y)
    unmasked.update({k: v for k, v in padded.items() if k != "support_mask"}, query_y)
    assert plain.hexdigest() == masked.hexdigest() != unmasked.hexdigest()


def test_hash_refuses_too_few_episodes_and_endless_ones(examples):
    with pytest.raises(ValueError, match=r"infinite dataset needs"):
        episode_hash(episode_dataset(examples, **OPTIONS))
    with pytest.raises(ValueError, match=r"at least n_episodes=4. Received 3"):
        episode_hash(episode_dataset(examples, n_episodes=3, **OPTIONS), 4)
    with pytest.raises(ValueError, match=r"must be positive"):
        episode_hash([], 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_way": 7}, r"at most the number of classes \(6\). Received: n_way=7. Lower"),
        ({"n_query": 5}, "n_query = 7 examples. Received 2 with fewer, such as 'a' with 5. Lower"),
        ({"n_way": None}, "need the number of classes"),
        ({"n_way": 0}, "`n_way` must be an integer of at least 1. Received: n_way=0"),
        ({"n_shot": 0}, "`n_shot` must be"),
        ({"n_query": -1}, "`n_query` must be"),
        ({"n_tasks": 1.5}, "`n_tasks` must be"),
        ({"n_episodes": 0}, "`n_episodes` must be"),
        ({"start": -1}, "`start` must be"),
        ({"seed": None}, "`seed` must be"),
        ({"start": True}, "`start` must be"),
        ({"source": np.zeros([3, 3])}, "`source` must be Examples"),
    ],
)
def test_refuses_before_any_work(examples, wrong, message):
    with pytest.raises(ValueError, match=message):
        episode_dataset(**{"source": examples, **OPTIONS, **wrong})


def test_a_family_of_regression_tasks_has_no_ways():
    with pytest.raises(ValueError, match=r"Received: n_way=5. Leave `n_way` out"):
        episode_dataset(sinusoids(), n_way=5, n_shot=1, n_query=1)


@pytest.mark.parametrize(("n_tasks", "n_episodes"), [(4, None), (2, 12), (1, 12)])
def test_replicas_share_the_episodes_of_a_batch(two_replicas, examples, n_tasks, n_episodes):
    dataset = episode_dataset(examples, n_tasks=n_tasks, n_episodes=n_episodes, **OPTIONS)
    seen = []
    for inputs, _ in two_replicas.experimental_distribute_dataset(dataset):
        parts = two_replicas.experimental_local_results(inputs["episode"])
        assert n_tasks == 1 or [len(part) for part in parts] == [n_tasks // 2] * 2
        seen += np.concatenate(parts).tolist()
        if len(seen) == 12:
            break
    assert seen == list(range(12))
