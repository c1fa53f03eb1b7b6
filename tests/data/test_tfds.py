import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfmeta.data import from_tfds


def drawing(label, i):
    picture = np.full([6, 6, 3], 255, np.uint8)
    picture[label, : i + 1] = 0
    return picture


class TinyDrawings(tfds.core.GeneratorBasedBuilder):
    """Three characters of two alphabets."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(6, 6, 3), encoding_format="png"),
                    "alphabet": tfds.features.ClassLabel(names=["Greek", "Latin"]),
                    "drawer": np.int64,
                    "label": tfds.features.ClassLabel(names=["alpha", "beta", "c"]),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples([0, 2]), "test": self._generate_examples([1])}

    def _generate_examples(self, labels):
        for label in labels:
            for i in range(4):
                yield (
                    f"{label}_{i}",
                    {
                        "image": drawing(label, i),
                        "alphabet": label // 2,
                        "drawer": i,
                        "label": label,
                    },
                )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("tfds")
    TinyDrawings(data_dir=path).download_and_prepare()
    return path


def test_pictures_labels_and_names(data_dir):
    examples = from_tfds("tiny_drawings", split="train", data_dir=data_dir)
    assert examples.class_names == ("alpha", "c")
    assert examples.groups is None
    assert examples.x.dtype == np.uint8
    expected = {drawing(2, i).tobytes() for i in range(4)}
    assert {x.tobytes() for x in examples.select(["c"]).x} == expected


def test_joined_splits_groups_and_conversion(data_dir):
    examples = from_tfds(
        "tiny_drawings",
        split="train+test",
        group_key="alphabet",
        image_size=3,
        channels=1,
        invert=True,
        data_dir=data_dir,
    )
    assert examples.class_names == ("alpha", "beta", "c")
    assert examples.groups == ("Greek", "Greek", "Latin")
    assert examples.example_shape == (3, 3, 1)
    assert examples.x.min() == 0 and examples.x.max() > 100
    np.testing.assert_array_equal(examples.class_counts, [4, 4, 4])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"label_key": "absent"}, "alphabet, drawer, image, label"),
        ({"group_key": "drawer"}, "same group"),
        ({"channels": 2}, "channels"),
        ({"split": "validation"}, "validation"),
        ({"name": "no_such_data_set"}, "knows no data set"),
    ],
)
def test_bad_arguments_are_refused(data_dir, options, message):
    arguments = {"name": "tiny_drawings", "split": "train", "data_dir": data_dir, **options}
    with pytest.raises(ValueError, match=message):
        from_tfds(**arguments)


def test_unprepared_data_is_refused_without_download(tmp_path):
    with pytest.raises(ValueError, match="download=True"):
        from_tfds("tiny_drawings", split="train", data_dir=tmp_path, download=False)


def test_keys_are_found_by_type_or_asked_for(data_dir, monkeypatch):
    monkeypatch.setattr(tfds.core.DatasetInfo, "supervised_keys", None)
    with pytest.raises(ValueError, match="Pass `label_key`"):
        from_tfds("tiny_drawings", split="train", data_dir=data_dir)
    by_alphabet = from_tfds(
        "tiny_drawings", split="train+test", label_key="alphabet", data_dir=data_dir
    )
    np.testing.assert_array_equal(by_alphabet.class_counts, [8, 4])
