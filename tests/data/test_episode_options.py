"""Episodes as in life, as datasets: padding, groups, several sources, domains, unknown classes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta import evaluate_episodes
from tfmeta.data import (
    Examples,
    RandomAffine,
    episode_dataset,
    episode_hash,
    freeze_episodes,
    load_episodes,
    sinusoids,
)
from tfmeta.learners import PrototypicalNetwork

SIZES = {"n_way": (2, 4), "n_shot": (1, 3), "n_query": 2}


def make_examples(n_classes=6, *, n=6, seed=0, names=None, groups=None):
    x = np.random.default_rng(seed).integers(0, 256, [n_classes * n, 4, 4, 1], np.uint8)
    return Examples(x, np.repeat(np.arange(n_classes), n), class_names=names, groups=groups)


def files_of(examples, folder):
    """The same examples as image files."""
    paths = [str(folder / f"{i}.png") for i in range(len(examples))]
    for path, picture in zip(paths, examples.x, strict=True):
        tf.io.write_file(path, tf.io.encode_png(picture))
    return Examples(paths, examples.y, image_size=(4, 4), channels=1)


@pytest.fixture
def examples():
    return make_examples(groups=["a", "a", "a", "b", "b", "b"])


@pytest.fixture(scope="module")
def learner():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(), keras.layers.Dense(5)]
    learner = PrototypicalNetwork(keras.Sequential([keras.Input((4, 4, 1)), *layers]))
    learner.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"])
    return learner


def unpadded(inputs, query_y, weight):
    """The first episode of a batch without its padding, as a batch of one."""
    real, queries = inputs["support_mask"][0], weight[0] > 0
    support = {k: inputs[k][0][real][None] for k in ("support_x", "support_y")}
    return {**support, "query_x": inputs["query_x"][0][queries][None]}, query_y[0][queries][None]


def assert_same(first, second):
    tf.nest.map_structure(np.testing.assert_array_equal, first, second)


def batches(dataset):
    return list(dataset.as_numpy_iterator())


def test_a_range_gives_padded_triples_of_one_shape(examples):
    dataset = episode_dataset(examples, n_tasks=3, n_episodes=9, **SIZES)
    inputs, query_y, weight = dataset.element_spec
    assert inputs["support_x"] == tf.TensorSpec([3, 12, 4, 4, 1], tf.uint8)
    assert inputs["support_mask"] == tf.TensorSpec([3, 12], tf.bool)
    assert query_y == tf.TensorSpec([3, 8], tf.int32)
    assert weight == tf.TensorSpec([3, 8], tf.float32)
    one = batches(episode_dataset(examples, n_tasks=1, n_episodes=1, start=7, **SIZES))[0]
    assert_same(one, tf.nest.map_structure(lambda t: t[1:2], batches(dataset)[2]))


def test_a_range_of_one_is_padded_with_nothing(examples):
    varied = episode_dataset(examples, n_way=(3, 3), n_shot=2, n_query=2, n_tasks=4)
    fixed = episode_dataset(examples, n_way=3, n_shot=2, n_query=2, n_tasks=4)
    inputs, query_y, weight = next(varied.as_numpy_iterator())
    assert inputs.pop("support_mask").all() and (weight == 1).all()
    assert_same((inputs, query_y), next(fixed.as_numpy_iterator()))
    assert episode_hash(varied, 5) == episode_hash(fixed, 5)


def test_one_trace_serves_all_sizes(examples, learner):
    traces = []

    @tf.function(jit_compile=False)
    def step(inputs, query_y, weight):
        traces.append(1)
        logits = learner(inputs)
        right = tf.cast(tf.argmax(logits, -1, tf.int32) == query_y, tf.float32)
        return tf.reduce_sum(weight * right) / tf.reduce_sum(weight)

    options = {**SIZES, "balanced": False, "n_tasks": 2}
    ways = set()
    for inputs, query_y, weight in episode_dataset(examples, **options).take(20):
        ways.update(inputs["support_y"].numpy().max(axis=1) + 1)
        assert 0 <= float(step(inputs, query_y, weight)) <= 1
    assert len(traces) == 1 and ways == {2, 3, 4}


def test_fit_traces_once(examples, learner, monkeypatch):
    traces, train_step = [], learner.train_step

    def counted(data):
        traces.append(1)
        return train_step(data)

    monkeypatch.setattr(learner, "train_step", counted)
    learner.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"])
    data = episode_dataset(examples, n_tasks=2, **SIZES)
    learner.fit(data, steps_per_epoch=2, verbose=0)
    traced = len(traces)
    learner.fit(data, steps_per_epoch=20, verbose=0)
    assert len(traces) == traced > 0


def test_padded_equals_unpadded(examples, learner):
    dataset = episode_dataset(examples, n_episodes=3, balanced=False, **SIZES)
    for inputs, query_y, weight in batches(dataset):
        alone, alone_y = unpadded(inputs, query_y, weight)
        outputs = learner(inputs).numpy()[0][weight[0] > 0]
        np.testing.assert_allclose(outputs[None], learner(alone), rtol=1e-5)
        padded = learner.evaluate(inputs, query_y, sample_weight=weight, verbose=0)
        np.testing.assert_allclose(padded, learner.evaluate(alone, alone_y, verbose=0), rtol=1e-5)


def test_reports_name_the_ranges(examples, learner):
    options = {**SIZES, "n_shot": (1, 4), "n_episodes": 40, "n_tasks": 8}
    report = evaluate_episodes(learner, episode_dataset(examples, **options), n_episodes=40)
    assert report.protocol == {"n_way": [2, 4], "n_shot": [1, 4], "n_query": 2}


def test_unknown_queries_are_the_last(examples):
    dataset = episode_dataset(examples, n_way=3, n_shot=1, n_query=2, n_unknown=2, n_tasks=4)
    inputs, query_y = next(dataset.as_numpy_iterator())
    assert query_y.tolist() == [[0, 0, 1, 1, 2, 2, -1, -1, -1, -1]] * 4
    closed = next(
        episode_dataset(examples, n_way=3, n_shot=1, n_query=2, n_tasks=4).as_numpy_iterator()
    )
    np.testing.assert_array_equal(inputs["query_x"][:, :6], closed[0]["query_x"])
    np.testing.assert_array_equal(inputs["support_x"], closed[0]["support_x"])


@pytest.mark.parametrize("lazy", [False, True])
def test_several_sources_are_read_each_from_its_own(tmp_path, lazy):
    first, second = make_examples(3), make_examples(5, seed=1)
    stored = first.x, second.x
    options = {**SIZES, "n_way": (2, 3), "n_tasks": 2, "n_episodes": 12, "weights": [1, 2]}
    plain = batches(episode_dataset([first, second], **options))
    known = {x.tobytes(): s for s, pictures in enumerate(stored) for x in pictures}
    origins = [{known[x.tobytes()] for x in task} for b in plain for task in b[0]["support_x"]]
    assert all(len(o) == 1 for o in origins) and set.union(*origins) == {0, 1}
    if lazy:
        second = files_of(second, tmp_path)
        assert_same(batches(episode_dataset([first, second], **options)), plain)


def test_padding_of_image_files(tmp_path, examples):
    options = {**SIZES, "n_tasks": 2, "n_episodes": 4}
    lazy = files_of(examples, tmp_path)
    assert_same(
        batches(episode_dataset(lazy, **options)), batches(episode_dataset(examples, **options))
    )


def test_support_and_query_of_two_domains(examples):
    photos = make_examples(seed=5, names=list("543210"))
    dataset = episode_dataset(examples, query_source=photos, n_tasks=3, n_episodes=6, **SIZES)
    drawings = {x.tobytes(): y for x, y in zip(examples.x, examples.y, strict=True)}
    pictures = {x.tobytes(): 5 - y for x, y in zip(photos.x, photos.y, strict=True)}
    for inputs, query_y, _ in batches(dataset):
        for s_x, s_y, q_x, q_y in zip(
            inputs["support_x"], inputs["support_y"], inputs["query_x"], query_y, strict=True
        ):
            class_of = {y: drawings[x.tobytes()] for x, y in zip(s_x, s_y, strict=True)}
            assert all(pictures[x.tobytes()] == class_of[y] for x, y in zip(q_x, q_y, strict=True))


def test_augmented_ranges_keep_mask_and_weight(examples):
    options = {**SIZES, "n_tasks": 2, "n_episodes": 2}
    plain = batches(episode_dataset(examples, **options))[0]
    distorted = batches(episode_dataset(examples, augment=RandomAffine(), **options))[0]
    assert (plain[0]["support_x"] != distorted[0]["support_x"]).any()
    np.testing.assert_array_equal(plain[0]["support_mask"], distorted[0]["support_mask"])
    np.testing.assert_array_equal(plain[2], distorted[2])


@pytest.mark.parametrize(
    "options",
    [
        SIZES,
        {**SIZES, "balanced": False, "within_group": True, "n_way": (2, 3)},
        {**SIZES, "n_way": 3, "n_shot": 1, "n_unknown": 2},
        {**SIZES, "several": True, "weights": (1.0, 3.0)},
        {**SIZES, "query_source": make_examples(seed=9)},
    ],
)
def test_frozen_episodes_with_options(examples, tmp_path, options):
    options = dict(options)
    source = [examples, make_examples(seed=4)] if options.pop("several", False) else examples
    frozen = freeze_episodes(source, tmp_path / "f.npz", n_episodes=6, seed=1, **options)
    where = {k: v for k, v in options.items() if k == "query_source"}
    loaded = load_episodes(source, tmp_path / "f.npz", n_tasks=2, **where)
    drawn = episode_dataset(source, n_tasks=2, n_episodes=6, seed=1, **options)
    assert loaded.element_spec == drawn.element_spec
    assert_same(batches(loaded), batches(drawn))
    assert frozen == episode_hash(loaded)


def test_frozen_domains_refuse_others(examples, tmp_path):
    photos, path = make_examples(seed=5), tmp_path / "f.npz"
    freeze_episodes(examples, path, n_episodes=3, query_source=photos, **SIZES)
    with pytest.raises(ValueError, match=r"`query_source` is needed"):
        load_episodes(examples, path)
    with pytest.raises(ValueError, match=r"must hold the examples"):
        load_episodes(examples, path, query_source=make_examples(seed=6))
    freeze_episodes(examples, path, n_episodes=3, **SIZES)
    with pytest.raises(ValueError, match=r"`query_source` is not wanted"):
        load_episodes(examples, path, query_source=photos)


OTHER = make_examples(seed=1)
WIDE = Examples(np.zeros([36, 5, 5, 1], np.uint8), np.repeat(np.arange(6), 6))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_way": (4, 2)}, r"least <= most. Received: n_way=\(4, 2\)"),
        ({"n_way": (1, 2, 3)}, r"pair \(least, most\)"),
        ({"n_shot": (0, 3)}, r"`n_shot` must be a positive integer, or a pair"),
        ({"n_shot": ("1", 3)}, r"`n_shot` must be a positive integer, or a pair"),
        ({"n_shot": "five"}, r"`n_shot` must be an integer of at least 1. Received: n_shot='five'"),
        ({"n_query": (1, 2)}, r"`n_query` must be an integer"),
        ({"n_way": (2, 7)}, r"at most the number of classes \(6\). Received: n_way=\(2, 7\)"),
        ({"n_unknown": 3}, r"`n_way` \+ `n_unknown` must be at most .* n_unknown=3"),
        ({"n_unknown": -1}, r"`n_unknown` must be an integer of at least 0"),
        ({"n_shot": (5, 6)}, r"n_shot \+ n_query = 7 examples. Received 6 with fewer"),
        ({"n_shot": (1, 5)}, r"largest class has besides its queries \(4\)"),
        ({"balanced": "yes"}, r"`balanced` must be True or False"),
        ({"balanced": False, "n_shot": 1}, r"Pass a pair such as `n_shot=\(1, 10\)`"),
        ({"within_group": 1}, r"`within_group` must be True or False"),
        ({"source": OTHER, "within_group": True}, r"needs examples with groups"),
        ({"within_group": True, "n_way": 4}, r"of the largest group \(3\). Received: n_way=4"),
        ({"weights": [1.0]}, r"`weights` belong to a list"),
        ({"source": []}, r"Received an empty list"),
        ({"source": [OTHER, 3]}, r"`source` must be Examples.* Received: int"),
        ({"source": [OTHER, WIDE]}, r"one shape and dtype. Received: uint8 \(4, 4, 1\) and"),
        ({"source": [OTHER, OTHER], "weights": [1]}, r"each of the 2 sources. Received"),
        ({"source": [OTHER, OTHER], "weights": [1, -1]}, r"one positive number"),
        ({"source": [OTHER, OTHER], "weights": ["a", 1]}, r"one positive number"),
        ({"source": [OTHER, OTHER], "query_source": WIDE}, r"goes with one source"),
        ({"source": OTHER, "query_source": OTHER}, r"must be other examples than `source`"),
        ({"query_source": WIDE}, r"one shape and dtype"),
        ({"query_source": "photos"}, r"`query_source` must be Examples"),
        (
            {"query_source": make_examples(names=list("01234x"))},
            r"only in `source` 1 \('5'\); only in `query_source` 1 \('x'\)",
        ),
        ({"query_source": make_examples(n=1)}, r"n_query = 2 examples in `query_source`"),
        (
            {"source": sinusoids(), "n_way": None, "n_shot": 1, "n_unknown": 1},
            r"n_unknown=1. Leave",
        ),
        ({"source": sinusoids(), "n_way": None}, r"`n_shot` must be an integer"),
    ],
)
def test_refuses_before_any_work(examples, wrong, message):
    with pytest.raises(ValueError, match=message):
        episode_dataset(**{"source": examples, **SIZES, **wrong})


def test_small_groups_are_named():
    groups = ["big"] * 4 + ["small"] * 2
    with pytest.raises(ValueError, match=r"Received 1 of 2 with fewer: 'small' with 2. Lower"):
        episode_dataset(
            make_examples(groups=groups), n_way=3, n_shot=1, n_query=1, within_group=True
        )
