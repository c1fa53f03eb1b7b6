"""Every recipe's `main` runs on tiny data; a recipe without a row here fails the last test."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tfmeta import cli

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"
TINY_CLASSES = (
    "--image-size=16 --steps=2 --epochs=1 --n-tasks=2 --n-query=2 --test-query=2 "
    "--n-validation=2 --n-episodes=4"
)
TINY = {
    "few_shot/prototypical.py": f"{TINY_CLASSES} --n-way=3 --test-ways 3",
    "few_shot/maml.py": f"{TINY_CLASSES} --n-way=3 --inner-steps=1 --evaluation-steps=2",
    "few_shot/sinusoid_maml.py": "--steps=2 --epochs=1 --n-tasks=2 --n-validation=2 --n-episodes=4 "
    "--inner-rate=0.001",
    "benchmarks/episodes.py": "--n-classes=6 --n-batches=2 --rounds=2 --n-steps=1 --n-tasks=2",
    "results_table.py": None,
}


def load(name):
    spec = importlib.util.spec_from_file_location(pathlib.Path(name).stem, RECIPES / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Twelve classes in three groups, as an .npz file."""
    draws = np.random.default_rng(0)
    prototypes = draws.integers(0, 256, (12, 1, 16, 16, 1))
    x = np.clip(prototypes + draws.integers(-20, 20, (12, 6, 16, 16, 1)), 0, 255)
    path = tmp_path_factory.mktemp("data") / "pictures.npz"
    np.savez(path, x=x.reshape(-1, 16, 16, 1).astype("uint8"), y=np.repeat(np.arange(12), 6))
    return path


@pytest.mark.parametrize("name", ["few_shot/prototypical.py", "few_shot/maml.py"])
def test_class_recipe(name, pictures, tmp_path):
    run, record = tmp_path / "run", tmp_path / "record.json"
    arguments = f"{TINY[name]} --data {pictures} --run {run} --record {record}".split()
    # Four classes in the test part at least, so that three-way episodes exist.
    reports = load(name).main([*arguments, "--rotate", "all"])
    report = reports["3way_1shot"]
    assert report.n_episodes == 4
    written = {path.name for path in run.iterdir()}
    assert {
        "report_3way_1shot.json",
        "control_3way_1shot.json",
        "episode_3way_1shot.png",
        "training.png",
        "learner.keras",
        "saved_model",
        "results.json",
        "split.json",
        "3way_1shot.npz",
    } <= written
    result = json.loads(record.read_text())["results"][0]
    assert result["mean"] == report.mean
    assert result["episode_hash"] == report.episode_hash == result["control"]["episode_hash"]
    served = tf.saved_model.load(str(run / "saved_model")).signatures["serving_default"]
    assert not list(tmp_path.glob("run-*"))
    names = served(
        support_x=tf.zeros([3, 16, 16, 1], tf.uint8),
        support_y=tf.constant([0, 1, 2]),
        class_names=tf.constant(["a", "b", "c"]),
        query_x=tf.zeros([2, 16, 16, 1], tf.uint8),
    )["class_name"]
    assert names.shape == [2]


def test_train_on_validation_too(pictures, tmp_path):
    arguments = f"{TINY['few_shot/prototypical.py']} --data {pictures} --rotate all".split()
    arguments += ["--train-on", "trainval"]
    reports = load("few_shot/prototypical.py").main([*arguments, "--run", str(tmp_path / "run")])
    assert reports["3way_1shot"].n_episodes == 4
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    options = cli.parser("", recipe="")
    cli.add_class_options(options)
    options = options.parse_args([*arguments, "--run", str(tmp_path / "other")])
    train, validation, test = cli.load_class_splits(options)
    assert validation is None
    assert {n.split("/rot")[0] for n in train.class_names} == {
        *split["train"],
        *split["validation"],
    }
    assert {n.split("/rot")[0] for n in test.class_names} == set(split["test"])


def test_sinusoid_recipe(tmp_path):
    run = tmp_path / "run"
    name = "few_shot/sinusoid_maml.py"
    reports = load(name).main([*TINY[name].split(), "--run", str(run)])
    assert set(reports) == {f"sinusoid_10shot_{k}step" for k in (1, 5, 10)}
    assert (run / "regression_sinusoid_10shot.png").stat().st_size > 0
    assert len({report.episode_hash for report in reports.values()}) == 1


def test_a_run_never_writes_into_another(tmp_path):
    first = tmp_path / "deep" / "run"
    folders = [cli.new_folder(str(first)) for _ in range(3)]
    assert folders == [str(first), f"{first}-2", f"{first}-3"]


def test_episodes_benchmark():
    name = "benchmarks/episodes.py"
    figures = load(name).main(TINY[name].split())
    assert figures["episodes_per_second_best"] > 0
    assert 0 <= figures["waiting_share_of_a_step"] <= 1


def test_results_table_is_fresh():
    table = load("results_table.py")
    assert table.page() == (RECIPES / "README.md").read_text("utf8"), (
        "recipes/README.md is stale: run `python recipes/results_table.py`"
    )


def test_every_recipe_has_a_row():
    assert {str(path.relative_to(RECIPES)) for path in RECIPES.rglob("*.py")} == set(TINY)
