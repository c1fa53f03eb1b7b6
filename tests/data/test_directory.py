import numpy as np
import pytest
from PIL import Image

from tfmeta.data import from_directory


def write(path, value, size=(6, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "dog" / "b.png", 40)
    write(tmp_path / "dog" / "a.png", 30)
    write(tmp_path / "cat" / "1.JPG", 10)
    (tmp_path / "cat" / ".hidden.png").write_bytes(b"")
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_one_folder_a_class_in_sorted_order(folder):
    examples = from_directory(folder, image_size=(4, 6))
    assert not examples.is_lazy
    assert examples.class_names == ("cat", "dog")
    assert examples.groups is None
    np.testing.assert_array_equal(examples.y, [0, 1, 1])
    np.testing.assert_allclose(examples.x.mean(axis=(1, 2, 3)), [10, 30, 40], atol=1)
    assert from_directory(folder, image_size=8, channels=1).example_shape == (8, 8, 1)


def test_lazy_equals_in_memory(folder):
    memory = from_directory(folder, image_size=5)
    lazy = from_directory(str(folder), image_size=5, lazy=True)
    assert lazy.is_lazy
    np.testing.assert_array_equal(lazy.read(np.arange(3)), memory.x)


def test_large_folders_are_lazy(folder, monkeypatch):
    monkeypatch.setattr("tfmeta.data.directory._IN_MEMORY", 100)
    assert from_directory(folder, image_size=6).is_lazy
    assert not from_directory(folder, image_size=6, lazy=False).is_lazy


def test_groups_of_classes(tmp_path):
    for group, name in (("Latin", "a"), ("Greek", "a"), ("Greek", "b")):
        write(tmp_path / group / name / "1.png", 5)
    examples = from_directory(tmp_path, image_size=4)
    assert examples.class_names == ("Greek/a", "Greek/b", "Latin/a")
    assert examples.groups == ("Greek", "Greek", "Latin")


def test_bad_folders_are_refused(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    with pytest.raises(ValueError, match="an empty folder"):
        from_directory(other, image_size=4)
    with pytest.raises(ValueError, match=r"absent.*Check the path"):
        from_directory(other / "absent", image_size=4)
    with pytest.raises(ValueError, match="Check the path"):
        from_directory(folder / "cat" / "notes.txt", image_size=4)
    write(other / "1.png", 3)
    with pytest.raises(ValueError, match="1 pictures and no sub-folder"):
        from_directory(other, image_size=4)
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="without: empty"):
        from_directory(folder, image_size=4)


def test_mixed_levels_are_refused(folder):
    write(folder / "group" / "class" / "1.png", 3)
    with pytest.raises(ValueError, match="without: group"):
        from_directory(folder, image_size=4)


def test_a_corrupt_picture_is_named(folder):
    whole = (folder / "dog" / "b.png").read_bytes()
    (folder / "dog" / "b.png").write_bytes(whole[:50])
    with pytest.raises(ValueError, match=r"dog.b\.png"):
        from_directory(folder, image_size=4)
    problems = from_directory(folder, image_size=4, lazy=True).check(2, n_query=0)
    assert any("b.png" in problem for problem in problems)


def test_bad_sizes_are_refused(folder):
    with pytest.raises(ValueError, match="image_size"):
        from_directory(folder, image_size=0)
