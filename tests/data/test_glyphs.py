import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from tfmeta.data import from_tfds, glyphs, register_glyphs, split_classes
from tfmeta.data.glyphs import (
    _FACES,
    _characters_of,
    _drawing,
    _inverse_affine,
    distinct_characters,
    script_of,
)


@pytest.fixture(scope="module")
def some():
    return glyphs(max_classes=60, n_drawers=10)


def names(characters):
    return [unicodedata.name(character) for character in characters]


def test_pictures_names_and_groups(some):
    assert some.x.shape == (600, 28, 28, 1) and some.x.dtype == np.uint8
    assert some.class_counts.tolist() == [10] * 60
    assert len(set(some.class_names)) == 60
    assert {"LATIN", "GREEK", "CYRILLIC", "GEORGIAN", "ARMENIAN", "DIGIT"} <= set(some.groups)
    for name, group in zip(some.class_names, some.groups, strict=True):
        assert name.startswith(group)
    # Ink is 255 on 0, inside the picture, and neither a speck nor the whole of it.
    assert (some.x.max(axis=(1, 2, 3)) > 200).all()
    assert np.median(some.x) == 0
    share = (some.x > 127).mean(axis=(1, 2, 3))
    assert share.min() > 0.005 and share.max() < 0.5


def test_drawers_differ_and_a_class_looks_like_itself(some):
    assert len({picture.tobytes() for picture in some.x}) == len(some)
    x = some.x.reshape(60, 10, -1) / 255.0
    means = x[:, :5].mean(axis=1)
    distances = ((x[:, 5:, None] - means) ** 2).sum(axis=-1)
    accuracy = (distances.argmin(axis=-1) == np.arange(60)[:, None]).mean()
    assert 0.2 < accuracy < 0.95  # neither noise nor copies


def test_the_same_arguments_give_the_same_bytes(some):
    again = glyphs(max_classes=60, n_drawers=10)
    assert again.x.tobytes() == some.x.tobytes() and again.class_names == some.class_names
    other = glyphs(max_classes=60, n_drawers=10, seed=1)
    assert other.x.tobytes() != some.x.tobytes() and other.class_names == some.class_names


def test_a_class_does_not_depend_on_the_others(some):
    greek = glyphs(scripts=["GREEK"], n_drawers=10)
    assert set(greek.groups) == {"GREEK"}
    shared = [name for name in some.class_names if name in greek.class_names]
    assert shared and np.array_equal(greek.select(shared).x, some.select(shared).x)


def test_another_size_is_the_same_drawing(some):
    large = glyphs(56, max_classes=60, n_drawers=10)
    assert large.example_shape == (56, 56, 1)
    shrunk = large.x.reshape(600, 28, 2, 28, 2).mean(axis=(2, 4))
    assert np.abs(shrunk - some.x[..., 0]).mean() < 8


def test_the_default_set():
    characters = distinct_characters(8)
    groups = [script_of(character) for character in characters]
    assert 1400 < len(characters) < 1700
    assert all(8 <= len(faces) <= 16 for faces in characters.values())
    assert groups.count("DIGIT") == 10 and groups.count("LATIN") > 800
    assert "LATIN CAPITAL LETTER A" in names(characters)
    # The same drawings as Latin A, in most faces or in some.
    assert not {"GREEK CAPITAL LETTER ALPHA", "CYRILLIC CAPITAL LETTER A"} & set(names(characters))
    variants = {"LATIN SMALL LIGATURE FI", "FULLWIDTH LATIN CAPITAL LETTER A", "KELVIN SIGN"}
    assert not variants & set(names(characters))


def test_no_drawing_belongs_to_two_classes():
    seen = set()
    for character, faces in distinct_characters(8).items():
        drawings = [(face, _drawing(character, face, 48)) for face in faces]
        keys = {(face, drawing.size, drawing.tobytes()) for face, drawing in drawings}
        assert seen.isdisjoint(keys), unicodedata.name(character)
        seen |= keys


def test_fewer_faces_give_more_scripts():
    scripts = {script_of(character) for character in distinct_characters(3)}
    assert {"HEBREW", "ARABIC", "CANADIAN", "OLD ITALIC", "LATIN"} <= scripts
    assert not {"TURNED", "ROMAN", "EXTENDED"} & scripts


@pytest.mark.parametrize("face", _FACES)
def test_faces_have_the_letters_they_claim(face):
    missing = _drawing("\U0010fffe", face, 48).tobytes()
    characters = _characters_of(face)
    assert {"A", "z", "7"} <= set(characters)
    assert all(_drawing(c, face, 48).tobytes() != missing for c in characters[::25])


def test_inverse_affine_maps_the_picture_back_to_the_drawing():
    identity = _inverse_affine(np.zeros(6), (40, 20), 84)
    np.testing.assert_allclose(identity, (1, 0, 20 - 42, 0, 1, 10 - 42))
    a, b, c, d, e, f = _inverse_affine(np.array([0, 0, 0, 0, 1.0, -1.0]), (40, 20), 100)
    # The picture's centre, shifted by 6 %, shows the drawing's centre.
    np.testing.assert_allclose((a * 56 + b * 44 + c, d * 56 + e * 44 + f), (20, 10))
    turned = np.array(_inverse_affine(np.array([1.0, 0, 0, 0, 0, 0]), (40, 40), 84))
    angle = np.deg2rad(10)
    np.testing.assert_allclose(turned[:2], (np.cos(angle), np.sin(angle)), atol=1e-12)
    wide = _inverse_affine(np.zeros(6), (156, 20), 100)
    assert wide[0] == pytest.approx(2)  # shrunk to 78 of 100 pixels


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scripts": ["KLINGON"]}, r"`scripts` must name some of: ARMENIAN, .*KLINGON"),
        ({"scripts": []}, r"`scripts` must name"),
        ({"min_faces": 17}, r"at most the number of faces \(16\). Received: min_faces=17"),
        ({"min_faces": 0}, r"`min_faces` must be"),
        ({"max_classes": 0}, r"`max_classes` must be"),
        ({"image_size": 0}, r"`image_size` must be"),
        ({"n_drawers": 1.0}, r"`n_drawers` must be"),
        ({"seed": -1}, r"`seed` must be"),
    ],
)
def test_refuses_wrong_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        glyphs(**wrong)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    import tensorflow_datasets as tfds

    register_glyphs()
    path = tmp_path_factory.mktemp("tfds")
    tfds.builder("glyphs/small", data_dir=path).download_and_prepare()
    return path


def test_tensorflow_datasets_serves_the_same_pictures_and_splits(data_dir):
    expected = split_classes(glyphs(max_classes=100), by="group")
    for split, part in zip(("train", "validation", "test"), expected, strict=True):
        loaded = from_tfds("glyphs/small", split=split, group_key="script", data_dir=data_dir)
        assert loaded.class_names == part.class_names and loaded.groups == part.groups
        assert sorted(p.tobytes() for p in loaded.x) == sorted(p.tobytes() for p in part.x)
        first = loaded.x[loaded.y == 0], part.x[part.y == 0]
        assert {p.tobytes() for p in first[0]} == {p.tobytes() for p in first[1]}


def test_labels_count_over_the_classes_of_all_splits(data_dir):
    import tensorflow_datasets as tfds

    dataset, info = tfds.load("glyphs/small", data_dir=data_dir, with_info=True)
    assert info.features["label"].num_classes == 100
    labels = [{int(e["label"]) for e in dataset[split]} for split in dataset]
    assert set.union(*labels) == set(range(100)) and sum(map(len, labels)) == 100
    scripts = [{int(e["script"]) for e in dataset[split]} for split in dataset]
    assert sum(map(len, scripts)) == len(set.union(*scripts))


def test_importing_tfmeta_does_not_import_tensorflow_datasets():
    script = "import sys, tfmeta.data; assert 'tensorflow_datasets' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
