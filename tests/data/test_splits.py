import json

import numpy as np
import pytest

from tfmeta.data import Examples, check_disjoint, load_split, split_classes


def examples_of(names, groups=None):
    return Examples(
        np.zeros([len(names), 2, 2, 1], np.uint8),
        np.arange(len(names)),
        class_names=names,
        groups=groups,
    )


@pytest.fixture
def hundred():
    sizes = {"a": 30, "b": 25, "c": 20, "d": 15, "e": 6, "f": 4}
    groups = [group for group, size in sizes.items() for _ in range(size)]
    return examples_of([f"{g}{i}" for i, g in enumerate(groups)], groups)


def names_of(splits):
    return [split.class_names for split in splits]


@pytest.mark.parametrize("by", ["class", "group"])
def test_parts_are_disjoint_complete_and_repeatable(hundred, by):
    splits = split_classes(hundred, seed=3, by=by)
    assert sorted(sum(names_of(splits), ())) == sorted(hundred.class_names)
    check_disjoint(*splits)
    assert names_of(split_classes(hundred, seed=3, by=by)) == names_of(splits)


@pytest.mark.parametrize("by", ["class", "group"])
def test_another_seed_gives_another_split(by):
    groups = [str(i) for i in range(14, 34) for _ in range(i)]
    examples = examples_of([str(i) for i in range(len(groups))], groups)
    first, second = (split_classes(examples, seed=seed, by=by) for seed in (0, 1))
    assert names_of(first) != names_of(second)


def test_class_counts_follow_the_fractions(hundred):
    assert [s.n_classes for s in split_classes(hundred)] == [64, 16, 20]
    assert [s.n_classes for s in split_classes(hundred, (0.5, 0.25, 0.25))] == [50, 25, 25]
    assert [s.n_classes for s in split_classes(examples_of(list("abc")))] == [1, 1, 1]


def test_groups_stay_together_near_the_fractions(hundred):
    splits = split_classes(hundred, by="group")
    groups = [set(split.groups) for split in splits]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    np.testing.assert_allclose([s.n_classes for s in splits], [64, 16, 20], atol=3)


def test_no_part_is_empty_even_with_one_huge_group():
    groups = ["huge"] * 97 + ["small", "tiny"]
    splits = split_classes(examples_of([str(i) for i in range(99)], groups), by="group")
    assert sorted(s.n_classes for s in splits) == [1, 1, 97]
    assert splits[0].n_classes == 97


def test_saved_split_comes_back(hundred, tmp_path):
    path = tmp_path / "made" / "split.json"
    splits = split_classes(hundred, seed=1, path=path)
    assert list(json.loads(path.read_text())) == ["train", "validation", "test"]
    assert names_of(load_split(hundred, path)) == names_of(splits)


def published(tmp_path, **parts):
    path = tmp_path / "published.json"
    path.write_text(json.dumps({"other": {}, "set": parts}))
    return path


def test_published_layout_folds_rotations(tmp_path):
    turns = [f"rot{90 * k:03d}" for k in range(4)]
    path = published(
        tmp_path,
        train=[f"Greek/character0{c}/{t}" for c in (2, 1) for t in turns],
        val=[f"Latin/character01/{t}" for t in turns],
        test=[["Latin", "character02"]],
        trainval=["Greek/character02/rot000"],
    )
    names = ["Greek/character01", "Greek/character02", "Latin/character01", "Latin/character02"]
    expected = [
        ("Greek/character02", "Greek/character01"),
        ("Latin/character01",),
        ("Latin/character02",),
    ]
    assert names_of(load_split(examples_of(names), path, key="set")) == expected
    counted_from_zero = load_split(
        examples_of(["Greek_0", "Greek_1", "Latin_0", "Latin_1"]), path, key="set"
    )
    assert names_of(counted_from_zero) == [("Greek_1", "Greek_0"), ("Latin_0",), ("Latin_1",)]


def test_bad_split_files_are_refused(tmp_path):
    examples = examples_of(list("abc"))
    path = published(tmp_path, train=["a"], val=["b"], test=["z"])
    with pytest.raises(ValueError, match=r"such as \['z'\]"):
        load_split(examples, path, key="set")
    with pytest.raises(ValueError, match="other, set"):
        load_split(examples, path, key="absent")
    with pytest.raises(ValueError, match="as `key`"):
        load_split(examples, path)
    with pytest.raises(ValueError, match=r"share classes.*: a"):
        load_split(
            examples, published(tmp_path, train=["a"], val=["b"], test=["c", "a"]), key="set"
        )
    path.write_text("{")
    with pytest.raises(ValueError, match="JSON"):
        load_split(examples, path)
    with pytest.raises(ValueError, match="JSON"):
        load_split(examples, tmp_path / "absent.json")


def test_overlapping_splits_are_named_rotated_or_not():
    first, second = examples_of(list("abc")), examples_of(list("cd"))
    with pytest.raises(ValueError, match="split 0 and split 1: c"):
        check_disjoint(first, second)
    with pytest.raises(ValueError, match="split 0 and split 2: c"):
        check_disjoint(first.rotate(), examples_of(["x"]), second)
    check_disjoint(first, examples_of(["d"]))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"fractions": (0.5, 0.5)}, "fractions"),
        ({"fractions": (0.8, 0.3, 0.1)}, "fractions"),
        ({"fractions": (1.0, 0.0, 0.0)}, "fractions"),
        ({"by": "alphabet"}, "by"),
        ({"by": "group"}, "groups=None"),
    ],
)
def test_split_classes_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        split_classes(examples_of(list("abcd")), **options)


def test_too_few_units_and_rotated_classes_are_refused():
    with pytest.raises(ValueError, match="at least 3 classes"):
        split_classes(examples_of(list("ab")))
    with pytest.raises(ValueError, match="at least 3 groups"):
        split_classes(examples_of(list("abc"), list("xxy")), by="group")
    with pytest.raises(ValueError, match="before they are rotated"):
        split_classes(examples_of(list("abc")).rotate())


def test_a_split_beside_the_pictures(tmp_path):
    names = ["a", "b", "c", "d"]
    path = tmp_path / "pictures.npz"
    np.savez(path, class_names=names, split=["test", "train", "val", "train"])
    splits = load_split(examples_of(names), path, key="split")
    assert names_of(splits) == [("b", "d"), ("c",), ("a",)]
    for key in (None, "other"):
        with pytest.raises(ValueError, match=f"key={key!r}"):
            load_split(examples_of(names), path, key=key)
    np.savez(path, class_names=names, split=["test", "train", "train", "train"])
    with pytest.raises(ValueError, match="holds: test, train"):
        load_split(examples_of(names), path, key="split")
