import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfmeta.data import from_npz


def packed_arrays():
    bits = np.zeros([4, 5, 5], np.uint8)
    for i in range(4):
        bits[i, i, :] = 1
    return bits, {
        "images": np.packbits(bits.reshape(4, -1), axis=1),
        "image_shape": np.array([5, 5]),
        "class_index": np.array([0, 0, 1, 1], np.int16),
        "class_alphabet": np.array(["Greek", "Latin"]),
        "class_character": np.array(["character01", "character02"]),
    }


def jpeg(value, size=(8, 8)):
    file = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(file, "JPEG", quality=95)
    return file.getvalue()


def joined_arrays(files):
    return {
        "jpeg_bytes": np.frombuffer(b"".join(files), np.uint8),
        "offsets": np.cumsum([0, *map(len, files)]),
        "labels": np.arange(len(files), dtype=np.int16),
        "class_names": np.array([f"c{i}" for i in range(len(files))]),
        "class_coarse": np.array([1, 0, 1][: len(files)]),
        "coarse_names": np.array(["fruit", "milk"]),
        "file_names": np.array([f"{i}.jpg" for i in range(len(files))]),
    }


def saved(tmp_path, arrays):
    np.savez(tmp_path / "data.npz", **arrays)
    return tmp_path / "data.npz"


def test_plain_arrays(tmp_path):
    x = np.random.default_rng(0).normal(size=[4, 3]).astype(np.float32)
    arrays = {"x": x, "y": np.array([5, 9, 5, 9]), "class_names": np.array(["a", "b"])}
    examples = from_npz(saved(tmp_path, {**arrays, "groups": np.array(["g", "h"])}))
    np.testing.assert_array_equal(examples.x, x)
    np.testing.assert_array_equal(examples.y, [0, 1, 0, 1])
    assert (examples.class_names, examples.groups) == (("a", "b"), ("g", "h"))


def test_packed_pictures(tmp_path):
    bits, arrays = packed_arrays()
    examples = from_npz(saved(tmp_path, arrays))
    np.testing.assert_array_equal(examples.x, 255 * bits[..., None])
    assert examples.x.dtype == np.uint8
    assert examples.class_names == ("Greek/character01", "Latin/character02")
    assert examples.groups == ("Greek", "Latin")


def test_packed_pictures_are_resized_antialiased(tmp_path):
    _, arrays = packed_arrays()
    small = from_npz(saved(tmp_path, arrays), image_size=3).x
    assert small.shape == (4, 3, 3, 1)
    # A line of one pixel in five becomes grey, and keeps its share of the ink.
    assert 0 < small[0, 0, 0, 0] < 255
    np.testing.assert_allclose(small[2].mean(), 255 / 5, atol=12)


def test_joined_jpegs(tmp_path):
    path = saved(tmp_path, joined_arrays([jpeg(10), jpeg(120), jpeg(250)]))
    examples = from_npz(path)
    assert examples.example_shape == (8, 8, 3)
    np.testing.assert_allclose(examples.x[:, 0, 0, 0], [10, 120, 250], atol=3)
    assert examples.class_names == ("c0", "c1", "c2")
    assert examples.groups == ("milk", "fruit", "milk")
    assert from_npz(path, image_size=(4, 6), channels=1).example_shape == (4, 6, 1)


def test_joined_pictures_of_different_sizes_need_a_size(tmp_path):
    path = saved(tmp_path, joined_arrays([jpeg(10), jpeg(20, (6, 9))]))
    with pytest.raises(ValueError, match="image_size"):
        from_npz(path)
    assert from_npz(path, image_size=8).example_shape == (8, 8, 3)


def test_a_corrupt_picture_is_named(tmp_path):
    path = saved(tmp_path, joined_arrays([jpeg(10), jpeg(20)[:200]]))
    with pytest.raises(ValueError, match=r"1\.jpg"):
        from_npz(path)


def test_damaged_files_are_refused(tmp_path):
    path = saved(tmp_path, packed_arrays()[1])
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:40], b"", b"text"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"data\.npz.*fetched again"):
            from_npz(path)
    flipped = bytearray(whole)
    flipped[200] ^= 0xFF
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match=r"data\.npz"):
        from_npz(path)
    with pytest.raises(ValueError, match="Check the path"):
        from_npz(tmp_path / "absent.npz")


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_nothing_is_unpickled(tmp_path):
    sprung = tmp_path / "sprung"
    trap = np.empty(2, object)
    trap[:] = [Trap(str(sprung)), 0]
    path = saved(tmp_path, {"x": trap, "y": np.array([0, 1])})
    with pytest.raises(ValueError, match="pickled"):
        from_npz(path)
    trap.dump(path)
    with pytest.raises(ValueError, match="pickled"):
        from_npz(path)
    assert not sprung.exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"image_shape": np.array([7, 7])}, "packbits"),
        ({"class_index": np.zeros(3, np.int16)}, "packbits"),
    ],
)
def test_contradicting_packed_arrays(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        from_npz(saved(tmp_path, {**packed_arrays()[1], **change}))


def test_contradicting_offsets_and_missing_arrays(tmp_path):
    arrays = joined_arrays([jpeg(10), jpeg(20)])
    with pytest.raises(ValueError, match="offsets"):
        from_npz(saved(tmp_path, {**arrays, "offsets": arrays["offsets"] + 1}))
    with pytest.raises(ValueError, match="Received: y"):
        from_npz(saved(tmp_path, {"y": np.zeros(2, int)}))
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(ValueError, match="single array"):
        from_npz(tmp_path / "single.npy")


def test_whole_omniglot(request):
    from tfmeta.data import load_split

    data = Path(request.config.rootpath).parent / "shared" / "data"
    if not (data / "omniglot.npz").exists():
        pytest.skip("omniglot.npz is not here")
    omniglot = from_npz(data / "omniglot.npz", image_size=28)
    assert (len(omniglot), omniglot.n_classes, len(set(omniglot.groups))) == (32460, 1623, 50)
    splits = data / "splits" / "few_shot_splits.json"
    parts = load_split(omniglot, splits, key="omniglot_vinyals")
    assert [part.n_classes for part in parts] == [1028, 172, 423]
    published = json.loads(splits.read_text())["omniglot_vinyals"]
    assert set(parts[0].rotate().class_names) == set(published["train"])
