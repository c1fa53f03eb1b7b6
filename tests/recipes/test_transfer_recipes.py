"""The recipes of joint training and of domain adaptation, on tiny data."""

import json

import keras
import numpy as np
import pytest

from tfmeta.data import Examples


def small_pictures(n_each, n_classes=3, seed=0):
    """Classes of pictures around prototypes, 8 pixels wide."""
    draws = np.random.default_rng(seed)
    prototypes = np.random.default_rng(0).integers(0, 256, (n_classes, 1, 8, 8, 1))
    x = prototypes + draws.integers(-20, 20, (n_classes, n_each, 8, 8, 1))
    x = np.clip(x, 0, 255).astype("uint8").reshape(-1, 8, 8, 1)
    return Examples(x, np.repeat(np.arange(n_classes), n_each))


def tiny_backbone(x):
    """Quick to trace, which the recipes do for every method and seed."""
    layers = [keras.layers.Flatten(), keras.layers.BatchNormalization(), keras.layers.Dense(4)]
    return keras.Sequential([keras.Input(x.shape[1:]), *layers])


def check_record(record, path, methods, load_table):
    assert json.loads(path.read_text("utf8")) == record
    assert [row[0] for row in record["table"]["rows"]] == methods
    assert all(len(values) == 2 for values in record["scores"]["target accuracy"].values())
    shown = load_table.growth(record)
    assert f"**{record['title']}**" in shown and f"| {methods[-1]} | " in shown


def test_joint_policy_recipe(load, tmp_path, monkeypatch):
    module = load("transfer/joint_policy.py")
    assert module.build_backbone(np.zeros((1, 8, 8, 1))).output_shape == (None, 32)
    monkeypatch.setattr(module, "build_backbone", tiny_backbone)
    examples, record = small_pictures(12), tmp_path / "record.json"
    data = tmp_path / "pictures.npz"
    np.savez(data, x=examples.x, y=examples.y)
    arguments = f"--data {data} --image-size 8 --seeds 2 --steps 2 --batch-size 4 --record {record}"
    returned = module.main(arguments.split())
    methods = ["learned weights", "source only", "target only", "uniform joint"]
    check_record(returned, record, methods, load("results_table.py"))
    scores = returned["scores"]["AUROC of the weights"]["learned weights"]
    assert all(0.0 <= score <= 1.0 for score in scores)
    assert [row[3] == "–" for row in returned["table"]["rows"]] == [False, True, True, True]


def test_wrong_labels_of_the_joint_recipe(load):
    module, y = load("transfer/joint_policy.py"), np.repeat(np.arange(5), 20)
    noisy, is_right = module.with_wrong_labels(y, 5, 0.4, 0)
    assert (~is_right).sum() == 40
    np.testing.assert_array_equal(noisy == y, is_right)
    assert set(noisy) == set(y)


def test_joint_recipe_on_digits(load):
    pytest.importorskip("sklearn")
    module = load("transfer/joint_policy.py")
    source, target = module.load_domains(module.parse([]), 0)
    assert source.class_names == target.class_names
    assert source.example_shape == target.example_shape == (8, 8, 1)
    assert len(source) + len(target) == 1797
    assert len(np.unique(np.concatenate([source.x, target.x]), axis=0)) > 1790


@pytest.mark.parametrize("source", ["printed", pytest.param("handwritten", marks=pytest.mark.slow)])
def test_domain_adaptation_recipe(load, source, tmp_path, monkeypatch):
    module, record = load("domain_adaptation/digits.py"), tmp_path / "record.json"
    parts = {"printed": lambda: small_pictures(6), "handwritten": lambda: small_pictures(8, seed=1)}
    monkeypatch.setattr(module, "DOMAINS", parts)
    assert module.build_backbone(np.zeros((1, 8, 8, 1))).output_shape == (None, 64)
    monkeypatch.setattr(module, "build_backbone", tiny_backbone)
    arguments = f"--source {source} --seeds 2 --steps 2 --batch-size 4 --record {record}"
    returned = module.main(arguments.split())
    methods = ["source only", "AdaBN", "pseudo-labels", "DANN", "DAN", "Deep CORAL"]
    check_record(returned, record, methods, load("results_table.py"))
    assert f"{source} to " in returned["title"]
