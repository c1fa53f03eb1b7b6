import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfmeta.data import Examples, from_arrays


def small(**options):
    x = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2, 1)
    return Examples(x, [0, 1, 0, 2, 1, 0], class_names=["a", "b", "c"], **options)


@pytest.fixture
def files(tmp_path):
    paths = []
    for i in range(3):
        picture = np.random.default_rng(i).integers(0, 256, [8, 8, 3], np.uint8)
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(picture).save(paths[-1])
    return paths


def test_describes_its_classes():
    examples = small(groups=["g", "g", "h"])
    assert len(examples) == 6
    assert examples.n_classes == 3
    assert examples.y.dtype == np.int32
    np.testing.assert_array_equal(examples.class_counts, [3, 2, 1])
    np.testing.assert_array_equal(examples.rows_by_class, [0, 2, 5, 1, 4, 3])
    assert examples.rows_by_class.dtype == np.int64
    assert (examples.example_shape, examples.dtype) == ((2, 2, 1), np.uint8)
    assert repr(examples) == "Examples(6 uint8 examples of shape (2, 2, 1), 3 classes)"


def test_select_relabels_in_the_order_given():
    chosen = small(groups=["g", "g", "h"]).select(["c", 0])
    assert chosen.class_names == ("c", "a")
    assert chosen.groups == ("h", "g")
    np.testing.assert_array_equal(chosen.y, [0, 1, 1, 1])
    np.testing.assert_array_equal(chosen.x[:, 0, 0, 0], [12, 0, 8, 20])


@pytest.mark.parametrize(
    "classes, message", [(["z"], "unknown"), ([3], "unknown"), ([0, "a"], "once"), ([], "none")]
)
def test_select_refuses(classes, message):
    with pytest.raises(ValueError, match=message):
        small().select(classes)


def test_rotate_adds_quarter_turns_as_classes():
    examples = small(groups=["g", "g", "h"])
    rotated = examples.rotate()
    assert rotated.n_classes == 12
    assert rotated.groups == ("g", "g", "h") * 4
    assert rotated.class_names[3] == "a/rot090"
    for k, name in enumerate(["b/rot000", "b/rot090", "b/rot180", "b/rot270"]):
        expected = [np.rot90(x, k) for x in examples.select(["b"]).x]
        np.testing.assert_array_equal(rotated.select([name]).x, expected)


def test_rotate_refuses_oblongs_and_a_second_time():
    with pytest.raises(ValueError, match="square"):
        Examples(np.zeros([2, 2, 3, 1], np.uint8), [0, 1]).rotate()
    with pytest.raises(ValueError, match="already"):
        small().rotate().rotate()


def test_read_gathers_in_a_graph_without_a_constant():
    # Eager tensors of fewer than 128 elements become constants in any graph.
    examples = Examples(np.arange(6 * 64, dtype=np.uint8).reshape(6, 8, 8, 1), np.arange(6))
    read = tf.function(examples.read).get_concrete_function(tf.TensorSpec([2, 1], tf.int64))
    assert read.structured_outputs.shape == (2, 1, 8, 8, 1)
    assert not any(
        o.type == "Const" and o.outputs[0].shape.rank == 4 for o in read.graph.get_operations()
    )
    np.testing.assert_array_equal(read(tf.constant([[3], [0]], tf.int64)), examples.x[[[3], [0]]])


def test_lazy_reading_equals_the_pictures_and_their_turns(files):
    lazy = Examples(files, [0, 1, 2], image_size=(8, 8))
    memory = Examples(np.stack([np.asarray(Image.open(f)) for f in files]), [0, 1, 2])
    assert lazy.is_lazy and (lazy.dtype, lazy.example_shape) == (np.uint8, (8, 8, 3))
    assert "lazy" in repr(lazy)
    rows = np.arange(12).reshape(4, 3)
    lazy, memory = lazy.rotate(), memory.rotate()
    np.testing.assert_array_equal(lazy.read(rows), memory.x[rows])
    chosen = lazy.select([7, 2])
    np.testing.assert_array_equal(chosen.read([0, 1]), memory.x[[7, 2]])
    batches = tf.data.Dataset.range(12).batch(4, drop_remainder=True).map(lazy.read)
    assert batches.element_spec.shape == (4, 8, 8, 3)
    np.testing.assert_array_equal(np.concatenate(list(batches.as_numpy_iterator())), memory.x)


def test_lazy_pictures_are_resized_grey_or_rgb(files):
    examples = Examples(files, [0, 0, 0], image_size=(4, 6), channels=1)
    assert examples.read([0, 2]).shape == (2, 4, 6, 1)


@pytest.mark.parametrize("damage", ["cut", "gone", "text"])
def test_a_corrupt_file_is_named(files, damage):
    if damage == "gone":
        files[1].unlink()
    else:
        files[1].write_bytes(files[1].read_bytes()[:60] if damage == "cut" else b"no picture")
    examples = Examples(files, [0, 1, 2], image_size=(8, 8))
    dataset = tf.data.Dataset.from_tensors(np.arange(3)).map(examples.read)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"ValueError.*1\.png"):
        next(iter(dataset))


def test_camera_orientation_is_applied(tmp_path):
    picture = np.zeros([4, 8, 3], np.uint8)
    picture[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise: left becomes top
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    read = Examples([tmp_path / "a.png"], [0], image_size=(8, 4)).read([0])[0]
    np.testing.assert_array_equal(read, np.rot90(picture, -1))


def test_sixteen_bits_are_refused_rather_than_clipped(tmp_path):
    Image.fromarray(np.full([4, 4], 30_000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png.*8 bits"):
        Examples([tmp_path / "deep.png"], [0], image_size=(4, 4)).read_row(0)


@pytest.mark.parametrize(
    "x, y, options, message",
    [
        (np.zeros([2, 1]), [0], {}, "one label for each of the 2"),
        (np.zeros([2, 1]), [0.0, 1.0], {}, "integer"),
        (np.zeros([2, 1]), [0, 2], {}, "from_arrays"),
        (np.zeros([2, 1]), [-1, 0], {}, "every value"),
        (np.zeros([0, 1]), [], {}, "At least one"),
        (np.zeros([2, 1]), [0, 1], {"class_names": ["a"]}, "class_names"),
        (np.zeros([2, 1]), [0, 1], {"class_names": ["a", "a"]}, "twice: a"),
        (np.zeros([2, 1]), [0, 1], {"groups": ["a"]}, "groups"),
        ([["a.png"], ["b.png"]], [0, 1], {"image_size": (4, 4)}, "flat list"),
        (["a.png", "b.png"], [0, 1], {}, "image_size"),
        (["a.png", "b.png"], [0, 1], {"image_size": (4, 4), "channels": 2}, "channels"),
        ([[1, 2], [3]], [0, 1], {}, "one shape"),
        (np.zeros([2, 1]), [0, 1], {"turns": [0, 1]}, "turns"),
        (np.zeros([2, 1]), [0, 1], {"image_size": (4, 0)}, "image_size"),
    ],
)
def test_constructor_refuses(x, y, options, message):
    with pytest.raises(ValueError, match=message):
        Examples(x, y, **options)


def test_from_arrays_numbers_any_labels():
    x = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2)
    strings = from_arrays(x, ["dog", "cat", "dog"], groups=["feline", "canine"])
    assert strings.example_shape == (2, 2, 1)
    assert strings.class_names == ("cat", "dog")
    assert strings.groups == ("feline", "canine")
    np.testing.assert_array_equal(strings.y, [1, 0, 1])
    holes = from_arrays(x, np.array([7, 3, 7]))
    assert holes.class_names == ("3", "7")
    named = from_arrays(x, [2, 0, 2], class_names=["a", "b", "c"])
    assert named.class_names == ("a", "c")


def test_from_arrays_leaves_float_series_alone_and_resizes_pictures():
    assert from_arrays(np.zeros([2, 5, 3], np.float32), [0, 1]).example_shape == (5, 3)
    x = np.zeros([1, 4, 4], np.uint8)
    x[0, :2, :2] = 200
    resized = from_arrays(x, [0], image_size=2)
    np.testing.assert_allclose(resized.x[0, ..., 0], [[200, 0], [0, 0]], atol=16)
    np.testing.assert_allclose(resized.x.mean(), x.mean(), atol=1)
    with pytest.raises(ValueError, match="uint8 pictures"):
        from_arrays(np.zeros([2, 4, 4, 1], np.float32), [0, 1], image_size=2)
    with pytest.raises(ValueError, match="argmax"):
        from_arrays(x, [0.5])
