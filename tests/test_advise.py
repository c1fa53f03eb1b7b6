"""Advice: what is compared, how the method is chosen, and what is refused."""

import keras
import numpy as np
import pytest
from PIL import Image

import tfmeta
from tfmeta.advice_report import AdviceReport, MethodResult, recommend
from tfmeta.advise import ADVISED


def examples(n=36, n_classes=3):
    """Pictures whose class is the brightness of one of their corners; the rest is noise."""
    draws = np.random.default_rng(0)
    y = np.arange(n) % n_classes
    x = draws.integers(0, 200, (n, 8, 8, 1))
    for k in range(n_classes):
        x[y == k, 2 * k, 2 * k] = 255
        x[y != k, 2 * k, 2 * k] = 60
    return tfmeta.data.Examples(x.astype("uint8"), y)


def backbone():
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Conv2D(4, 2, strides=2, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Flatten(),
    ]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers])


@pytest.fixture(scope="module")
def advice():
    network = backbone()
    before = network.get_weights()
    report = tfmeta.advise(
        examples(), backbone=network, n_splits=2, minutes=None, epochs=2, learning_rate=1e-3
    )
    return report, network, before


def test_every_method_is_tried_on_the_same_parts(advice):
    report, _, _ = advice
    assert sorted(r.method for r in report.results) == sorted(ADVISED)
    accuracies = [r.accuracy for r in report.results]
    assert accuracies == sorted(accuracies, reverse=True)
    for result in report.results:
        assert result.right.count("1") / 36 == result.accuracy and len(result.right) == 36
        assert result.interval[0] < result.accuracy < result.interval[1] or result.accuracy == 1.0
        assert result.seconds > 0.0
    assert report["linear probe"].accuracy > 0.6
    assert report.protocol["n_train"] == report.protocol["n_test"] == 18


def test_the_backbone_stays_as_it_is(advice):
    _, network, before = advice
    for now, then in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert all(v.trainable for v in network.layers[0].variables)


def test_what_is_trained_and_what_it_weighs(advice):
    report, network, _ = advice
    n_features, n_backbone = 64, network.count_params()
    assert report["prototypes"].n_trained == report["nearest centroid"].n_trained == 0
    assert report["linear probe"].n_trained == 3 * (n_features + 1)
    # Statistics of the normalisation are weights that do not train.
    assert report["fine-tune"].n_trained == n_backbone - 8 + 3 * (n_features + 1)
    assert report["nearest centroid"].megabytes * 2**20 == 4 * 3 * 64
    assert report["linear probe"].megabytes * 2**20 == 4 * (n_backbone + 3 * (n_features + 1))


def test_the_table_and_the_file(advice, tmp_path):
    report, _, _ = advice
    lines = str(report).splitlines()
    assert " ".join(lines[0].split()) == "method accuracy (95 % CI) train s trained weights MB"
    assert f"Use: {report.use}." in str(report)
    report.to_json(tmp_path / "advice.json")
    assert AdviceReport.from_json(tmp_path / "advice.json") == report


def test_no_time_is_one_step_each_and_said():
    report = tfmeta.advise(
        examples(), backbone=backbone(), methods=["fine-tune"], minutes=1e-6, n_splits=2
    )
    # One step of a batch of 18 examples is an epoch.
    assert "1.0 of 10 epochs" in report["fine-tune"].note
    assert "1.0 of 10 epochs" in str(report)


def test_no_more_than_so_many_of_a_class_and_files_of_pictures(tmp_path):
    few = examples()
    for i, (x, y) in enumerate(zip(few.x, few.y, strict=True)):
        (tmp_path / str(y)).mkdir(exist_ok=True)
        Image.fromarray(x[..., 0]).save(tmp_path / str(y) / f"{i}.png")
    lazy = tfmeta.data.from_directory(tmp_path, image_size=(8, 8), channels=1)
    options = {"methods": ["nearest centroid", "linear probe"], "n_splits": 2}
    report = tfmeta.advise(lazy, backbone=backbone(), max_per_class=4, **options)
    assert report.protocol["n_examples"] == 12


def test_one_training_example_of_a_class_leaves_no_episodes():
    report = tfmeta.advise(
        examples(6), backbone=backbone(), methods=["adapted MAML"], n_splits=2, minutes=None
    )
    assert "not meta-learned" in report["adapted MAML"].note


def result(method, right, seconds):
    accuracy = right.count("1") / len(right)
    return MethodResult(
        method=method,
        accuracy=accuracy,
        interval=(accuracy - 0.02, accuracy + 0.02),
        right=right,
        seconds=seconds,
        n_trained=1,
        megabytes=1.0,
    )


def test_the_cheapest_of_those_that_cannot_be_told_apart_is_used():
    best = result("best", "1" * 18 + "00", 60.0)
    close = result("close", "0" + "1" * 17 + "00", 2.0)
    cheap = result("cheap", "10" * 10, 0.1)
    use, reason = recommend([best, close, cheap])
    assert use == "close" and "5.00 ± 10.47 points, may be 0" in reason
    use, reason = recommend([best, cheap])
    assert use == "best" and "beyond the intervals" in reason
    assert recommend([best, result("slow", "1" * 17 + "000", 90.0)])[0] == "best"
    assert "largest class" in recommend([cheap], guessing=0.49)[1]
    assert "largest class" not in recommend([cheap], guessing=0.47)[1]


def test_bad_input():
    good = {"backbone": backbone()}
    few = tfmeta.data.Examples(np.zeros((3, 8, 8, 1), "uint8"), [0, 0, 1], class_names=["a", "b"])
    with pytest.raises(ValueError, match=r"at least 2 examples.*\['b'\]"):
        tfmeta.advise(few, **good)
    with pytest.raises(ValueError, match="two classes"):
        tfmeta.advise(examples(4, 1), **good)
    with pytest.raises(ValueError, match="pictures or vectors"):
        tfmeta.advise(tfmeta.data.from_texts(["a", "b"], ["x", "y"]), **good)
    with pytest.raises(ValueError, match=r"methods=\['magic'\]"):
        tfmeta.advise(examples(), methods=["magic"], **good)
    for option in ({"minutes": 0}, {"epochs": 0}, {"max_per_class": 1}, {"n_splits": 1}):
        with pytest.raises(ValueError, match=next(iter(option))):
            tfmeta.advise(examples(), **good, **option)
    with pytest.raises(ValueError, match="built"):
        tfmeta.advise(examples(), backbone=keras.Sequential([keras.layers.Flatten()]))
