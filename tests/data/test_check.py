import numpy as np
import pytest
from PIL import Image

from tfmeta.data import Examples


def pictures(n, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, 256, [n, 4, 4, 1]).astype(dtype)


def examples_of(x, n_classes=2, names="ab"):
    return Examples(x, np.arange(len(x)) % n_classes, class_names=list(names))


def test_good_examples_have_no_problem():
    others = [examples_of(pictures(8, seed=1), names="cd")]
    assert examples_of(pictures(8)).check(2, n_shot=1, n_query=3, others=others) == []
    scaled = examples_of(pictures(8, dtype=np.float32) / 255)
    assert scaled.check(2, n_shot=1, n_query=3) == []


def test_counts():
    examples = Examples(pictures(5), [0, 0, 0, 1, 1], class_names=["a", "b"])
    problems = examples.check(3, n_shot=1, n_query=2)
    assert len(problems) == 2
    assert "3 ways" in problems[0]
    assert "1 of 2 classes" in problems[1] and "'b' (2)" in problems[1]


def test_copies_within_and_between_classes():
    x = pictures(8)
    x[2] = x[0]
    x[5] = x[4]
    within, between = examples_of(x).check(2, n_query=3)
    assert "row 0 ('a') = row 2 ('a')" in within
    assert "row 4 ('a') = row 5 ('b')" in between


def test_copies_and_classes_shared_across_splits():
    train, test = pictures(8), pictures(8, seed=1)
    test[3] = train[6]
    classes, copies = examples_of(train).check(2, n_query=3, others=[examples_of(test, names="bc")])
    assert "'b'" in classes and "others[0]" in classes
    assert "row 6 ('a')" in copies


def test_different_shapes_across_splits():
    other = examples_of(np.random.default_rng(0).integers(0, 9, [4, 3, 3, 1], np.uint8), names="cd")
    (problem,) = examples_of(pictures(8)).check(2, n_query=3, others=[other])
    assert "(3, 3, 1)" in problem


@pytest.mark.parametrize(
    "x, message",
    [
        (pictures(8, dtype=np.float32), "Divide them by 255"),
        (pictures(8, dtype=np.int64), "astype"),
        (pictures(8) // 128, "Multiply them by 255"),
        (np.where(pictures(8) > 250, np.nan, 0.5), "NaN"),
        (np.full([8, 4, 4, 1], 7, np.uint8), "Every value is 7"),
    ],
)
def test_range_and_dtype(x, message):
    problems = examples_of(x).check(2, n_query=3)
    assert any(message in problem for problem in problems)


def test_feature_vectors_may_have_any_range():
    x = np.random.default_rng(0).normal(scale=100, size=[8, 3])
    assert examples_of(x).check(2, n_query=3) == []


def test_lazy_files_are_compared_by_their_pixels(tmp_path):
    x = pictures(4)
    x[3] = x[0]
    for i, picture in enumerate(x):
        Image.fromarray(picture[..., 0]).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes(b"broken")
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    lazy = Examples(paths, [0, 1, 0, 1], image_size=(4, 4), channels=1)
    unreadable, copies = lazy.check(2, n_query=1)
    assert "1.png" in unreadable
    assert "0.png" in copies and "3.png" in copies
