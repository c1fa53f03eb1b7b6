"""Forgetting: the source head on the backbone as it was and as it is."""

import keras
import numpy as np
import pytest

from tfmeta.transfer import FineTune, ForgettingReport, add_adapters, forgetting, merge_adapters


def backbone():
    """Two features, which are the two numbers of an example, negative ones included."""
    layer = keras.layers.Dense(2, use_bias=False, name="body")
    model = keras.Sequential([keras.Input((2,)), layer])
    layer.set_weights([np.eye(2, dtype="float32")])
    return model


def source_of(model):
    source = FineTune(model, 2)
    source.head.set_weights([np.eye(2, dtype="float32"), np.zeros(2, "float32")])
    return source


X = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 0.5], [0.0, 1.0]], "float32")
Y = np.array([0, 1, 0, 0])


def swapped():
    """A backbone that has turned the two features around: every class becomes the other."""
    model = backbone()
    model.layers[0].set_weights([np.array([[0.0, 1.0], [1.0, 0.0]], "float32")])
    return model


def test_by_hand():
    report = forgetting(source_of(backbone()), X, Y, backbone=swapped(), batch_size=3)
    # Right before: all but the last; after: the last alone.
    assert (report.before, report.after, report.lost, report.gained) == (0.75, 0.25, 3, 1)
    assert report.forgotten == 0.5
    # t(3) = 3.182 of 95 %; differences 1, 1, 1, -1 have the standard deviation 1.
    assert report.forgotten_ci == pytest.approx(3.182 / 2, rel=1e-3)
    assert report.before_ci == pytest.approx(3.182 * 0.5 / 2, rel=1e-3)


def test_a_backbone_that_was_trained_in_place():
    model = backbone()
    source = source_of(model)
    before = source.predict(X, verbose=0)
    head = source.head.get_weights()
    target = FineTune(model, 2)
    target.compile(keras.optimizers.SGD(1.0))
    target.fit(X, 1 - Y, epochs=3, verbose=0)
    report = forgetting(source, X, Y, before=before)
    assert report.before == 0.75
    wanted = np.mean((X @ model.layers[0].kernel.numpy() @ head[0]).argmax(axis=1) == Y)
    assert report.after == wanted
    np.testing.assert_array_equal(source.head.get_weights()[0], head[0])


def test_nothing_is_forgotten_where_nothing_moved():
    adapted = merge_adapters(add_adapters(backbone(), "lora", rank=1))
    report = forgetting(source_of(backbone()), X, Y, backbone=adapted)
    assert report.forgotten == report.forgotten_ci == report.lost == report.gained == 0


def test_the_file(tmp_path):
    report = forgetting(source_of(backbone()), X, Y, backbone=swapped())
    report.to_json(tmp_path / "report.json")
    assert ForgettingReport.from_json(tmp_path / "report.json") == report
    assert "3 lost, 1 gained" in str(report)


def test_bad_input():
    source = source_of(backbone())
    outputs = source.predict(X, verbose=0)
    with pytest.raises(ValueError, match="Received: none"):
        forgetting(source, X, Y)
    with pytest.raises(ValueError, match="Received: both"):
        forgetting(source, X, Y, backbone=swapped(), before=outputs)
    with pytest.raises(ValueError, match="the same examples"):
        forgetting(source, X, Y, before=outputs[:-1])
    wide = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="features as the source's own"):
        forgetting(source, X, Y, backbone=wide)
    with pytest.raises(ValueError, match="Pass `before`"):
        forgetting(keras.Sequential([keras.Input((2,)), *[source.head]]), X, Y, backbone=wide)
