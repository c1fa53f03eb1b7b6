import os

import numpy as np
import pytest
import tensorflow as tf

from tfmeta.data import (
    Examples,
    episode_dataset,
    episode_hash,
    freeze_episodes,
    load_episodes,
    sinusoids,
)

OPTIONS = {"n_way": 3, "n_shot": 1, "n_query": 2, "n_episodes": 7, "seed": 2}
REGRESSION = {"n_shot": 4, "n_query": 5, "n_episodes": 6, "seed": 1}


def make_examples(seed=0):
    x = np.random.default_rng(seed).integers(0, 256, [20, 4, 4, 1], np.uint8)
    return Examples(x, np.arange(20) % 4)


@pytest.fixture
def examples():
    return make_examples()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "test.npz"


def first_batch(dataset):
    return tf.nest.map_structure(lambda t: t.numpy(), next(iter(dataset)))


def test_frozen_episodes_are_those_of_the_seed(examples, path):
    frozen_hash = freeze_episodes(examples, path, **OPTIONS)
    loaded = load_episodes(examples, path, n_tasks=7)
    drawn = episode_dataset(examples, n_tasks=7, **OPTIONS)
    assert frozen_hash == episode_hash(loaded) == episode_hash(drawn)
    assert loaded.element_spec == drawn.element_spec
    tf.nest.map_structure(np.testing.assert_array_equal, first_batch(loaded), first_batch(drawn))
    assert load_episodes(examples, path, n_tasks=3).cardinality() == 3
    assert episode_hash(load_episodes(examples, path, n_tasks=3)) == frozen_hash
    assert os.listdir(path.parent) == ["test.npz"]


def test_episodes_of_fixed_sizes_stay_what_they_were(examples, path):
    assert freeze_episodes(examples, path, **OPTIONS) == "d1106f9d826d16ad"


def test_the_same_episodes_make_the_same_file(examples, path):
    freeze_episodes(examples, path, **OPTIONS)
    content = path.read_bytes()
    freeze_episodes(examples, path, **OPTIONS)
    assert path.read_bytes() == content


def test_the_file_pins_the_episodes_even_if_the_sampler_changes(examples, path, monkeypatch):
    frozen_hash = freeze_episodes(examples, path, **OPTIONS)
    monkeypatch.setattr("tfmeta.data.sampler.random_bits", None)
    assert episode_hash(load_episodes(examples, path)) == frozen_hash


def test_refuses_other_examples(examples, path):
    freeze_episodes(examples, path, **OPTIONS)
    changed = make_examples()
    changed.x[changed.x == changed.x.max()] -= 1
    for other in (make_examples(seed=1), changed):
        with pytest.raises(ValueError, match=r"Received: examples with hash .* Load the same data"):
            load_episodes(other, path)
    with pytest.raises(ValueError, match=r"Received: 5 examples"):
        load_episodes(examples.select([0]), path)
    with pytest.raises(ValueError, match=r"frozen from Examples. Received: Sinusoids"):
        load_episodes(sinusoids(), path)


def test_values_of_a_regression_family(path):
    frozen_hash = freeze_episodes(sinusoids(), path, **REGRESSION)
    loaded = load_episodes(sinusoids(), path, n_tasks=3)
    drawn = episode_dataset(sinusoids(), n_tasks=3, **REGRESSION)
    assert loaded.element_spec == drawn.element_spec
    assert frozen_hash == episode_hash(loaded) == episode_hash(drawn)
    with pytest.raises(ValueError, match=r"Received Sinusoids\(.* another 'support_"):
        load_episodes(sinusoids(x=(0.0, 1.0)), path)
    with pytest.raises(ValueError, match=r"frozen from a family of regression tasks"):
        load_episodes(make_examples(), path)


def test_refuses_a_damaged_file_and_leaves_it(examples, path):
    with pytest.raises(ValueError, match=r"no such file"):
        load_episodes(examples, path)
    freeze_episodes(examples, path, **OPTIONS)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"must be an intact file of frozen episodes"):
        load_episodes(examples, path)


@pytest.mark.parametrize("content", [np.array([{"a": 1}], object), np.zeros(3)])
def test_never_unpickles_and_wants_settings(examples, path, content):
    path.parent.mkdir()
    for save in (np.savez, np.save):
        with open(path, "wb") as file:
            save(file, content)
        with pytest.raises(ValueError, match=r"must be an intact file of frozen episodes"):
            load_episodes(examples, path)


def test_a_failed_write_leaves_the_old_file(examples, path, monkeypatch):
    frozen_hash = freeze_episodes(examples, path, **OPTIONS)

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match=r"disk full"):
        freeze_episodes(examples, path, **{**OPTIONS, "seed": 9})
    assert os.listdir(path.parent) == ["test.npz"]
    assert episode_hash(load_episodes(examples, path)) == frozen_hash


def test_refuses_wrong_counts_before_writing(examples, path):
    with pytest.raises(ValueError, match=r"`n_way` must be at most"):
        freeze_episodes(examples, path, **{**OPTIONS, "n_way": 5})
    with pytest.raises(ValueError, match=r"`n_episodes` must be"):
        freeze_episodes(examples, path, **{**OPTIONS, "n_episodes": None})
    assert not path.exists()
