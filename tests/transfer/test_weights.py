"""Weights copied by layer name, from models and from files of all Keras versions."""

import h5py
import keras
import numpy as np
import pytest

from tfmeta.transfer import copy_weights, read_h5


def model(*widths, nested=False):
    layers = [keras.layers.Dense(width, name=f"layer_{i}") for i, width in enumerate(widths)]
    if nested:
        inner = keras.Sequential([keras.Input((2,)), *layers[:1]], name="inner")
        layers = [inner, *layers[1:]]
    return keras.Sequential([keras.Input((2,)), *layers])


def assert_same(a, b):
    for got, wanted in zip(a, b, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("nested", [False, True])
def test_layers_of_one_name_are_copied(nested):
    source, target = model(3, 4, nested=nested), model(3, 4, 5)
    untouched = target.layers[2].get_weights()
    copied = copy_weights(source, target)
    assert copied == (("layer_0", "layer_1"), ("layer_2",), (), ())
    assert_same(target.get_weights()[:4], source.get_weights())
    assert_same(target.layers[2].get_weights(), untouched)


def test_nothing_is_copied_where_a_shape_does_not_fit():
    source, target = model(3, 4), model(3, 5)
    before = target.get_weights()
    with pytest.raises(ValueError, match=r"'layer_1'.*\(3, 5\).*Received.*\(3, 4\)"):
        copy_weights(source, target)
    assert_same(target.get_weights(), before)
    copied = copy_weights(source, target, skip_mismatch=True)
    assert copied == (("layer_0",), (), (), ("layer_1",))
    assert_same(target.get_weights()[:2], source.get_weights()[:2])
    assert_same(target.get_weights()[2:], before[2:])


def test_files_of_keras_3(tmp_path):
    source, target = model(3, 4, nested=True), model(3, 4)
    source.save_weights(tmp_path / "model.weights.h5")
    copy_weights(tmp_path / "model.weights.h5", target)
    assert_same(target.get_weights(), source.get_weights())


def test_files_of_keras_1(tmp_path):
    target, kernel, bias = model(3), np.ones((2, 3), "float32"), np.arange(3, dtype="float32")
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.attrs["layer_names"] = [b"input", b"layer/0"]
        file.create_group("input").attrs["weight_names"] = []
        group = file.create_group("layer/0")
        group.attrs["weight_names"] = [b"uniform1", b"layer/0_b"]
        group["uniform1"], group["layer/0_b"] = kernel, bias
    copy_weights(tmp_path / "weights.h5", target)
    assert_same(target.get_weights(), [kernel, bias])


def test_bad_files(tmp_path):
    with pytest.raises(ValueError, match=r"must exist.*absent\.h5"):
        read_h5(tmp_path / "absent.h5")
    (tmp_path / "bad.h5").write_bytes(b"not a file of weights")
    with pytest.raises(ValueError, match="HDF5 format"):
        read_h5(tmp_path / "bad.h5")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(ValueError, match="holds none"):
        read_h5(tmp_path / "empty.h5")


def test_models_that_share_no_name():
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="other")])
    with pytest.raises(ValueError, match=r"'layer_0'.*'other'"):
        copy_weights(model(3), other)
