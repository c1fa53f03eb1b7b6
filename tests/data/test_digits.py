"""Digits of two domains."""

import builtins

import numpy as np
import pytest

from tfmeta.data import glyphs, handwritten_digits, printed_digits


def test_printed_digits_are_the_glyphs_of_ten_characters():
    digits = printed_digits(5, image_size=12, seed=3)
    assert list(digits.class_names[:2]) == ["DIGIT ZERO", "DIGIT ONE"] and digits.n_classes == 10
    drawn = glyphs(12, n_drawers=5, scripts=["DIGIT"], seed=3).select(["DIGIT SEVEN"])
    np.testing.assert_array_equal(digits.x[digits.y == 7], drawn.x)


def test_handwritten_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    digits, wanted = handwritten_digits(), datasets.load_digits()
    assert digits.class_names == printed_digits(1).class_names
    np.testing.assert_array_equal(digits.y, wanted.target)
    np.testing.assert_allclose(digits.x[..., 0] * (16.0 / 255.0), wanted.images, atol=0.04)


def test_the_cure_where_scikit_learn_is_missing(monkeypatch):
    real = builtins.__import__

    def without_sklearn(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_sklearn)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        handwritten_digits()
