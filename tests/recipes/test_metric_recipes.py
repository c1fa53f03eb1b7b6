"""The recipes of the learners that embed, and the benchmark of Prototypical Networks."""

import io
import json
import pathlib
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

from tfmeta import cli
from tfmeta.data import load_episodes, load_split
from tfmeta.evaluation import evaluate_episodes

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"
TINY = (
    "--image-size=16 --steps=2 --epochs=1 --n-tasks=2 --n-query=2 --test-query=2 --n-way=3 "
    "--test-ways 3 --n-validation=2 --n-episodes=4"
)
TINY_SPEED = "--n-steps=2 --n-epochs=2 --n-way=2 --n-query=1 --filters=2"


METRIC_METHODS = {
    "prototypical": "PrototypicalNetwork",
    "siamese": "SiameseNetwork",
    "siamese_triplet": "SiameseNetwork with triplets",
    "matching": "MatchingNetwork",
    "matching_fce": "MatchingNetwork with full context",
    "relation": "RelationNetwork",
    "r2d2": "R2D2",
    "meta_opt_net": "MetaOptNet",
    "meta_opt_net_ridge": "MetaOptNet with ridge",
    "simple_shot": "SimpleShot",
    "baseline_plus_plus": "Baseline++",
    "feat": "FEAT",
}
QUICK = ("simple_shot",)


def check_on_pictures(report, pictures, run):
    """The report, made on features, is that of the pictures of the frozen episodes."""
    test = load_split(cli.load_examples(str(pictures), 16), pictures, key="split")[2]
    learner = keras.models.load_model(run / "learner.keras")
    episodes = load_episodes(test, run / "3way_2shot.npz")
    again = evaluate_episodes(learner, episodes, n_episodes=4)
    np.testing.assert_allclose(again.per_episode, report.per_episode)
    assert again.episode_hash == report.episode_hash


@pytest.mark.parametrize(
    "method",
    [m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in METRIC_METHODS],
)
def test_methods_of_the_metric_recipe(load, method, pictures, tmp_path):
    arguments = f"{TINY} --data {pictures} --split {pictures}:split --method {method}"
    arguments += " --n-shot=1 --test-shots 1 2 --pretrain-steps=2"
    if method in ("simple_shot", "baseline_plus_plus"):
        arguments += " --steps=0"
    record = tmp_path / "record.json"
    places = ["--run", str(tmp_path / "run"), "--record", str(record)]
    reports = load("few_shot/metric.py").main([*arguments.split(), *places])
    assert {report.name for report in reports.values()} == {method}
    assert set(reports) == {"3way_1shot", "3way_2shot"}
    written = json.loads(record.read_text())
    assert written["learner"] == METRIC_METHODS[method]
    protocols = [result["protocol"]["n_shot"] for result in written["results"]]
    assert protocols == [1, 2]
    assert (tmp_path / "run" / "saved_model").is_dir()
    check_on_pictures(reports["3way_2shot"], pictures, tmp_path / "run")


@pytest.mark.slow
def test_every_method_of_the_metric_recipe_builds(load):
    recipe = load("few_shot/metric.py")
    assert {name: m.name for name, m in recipe.METHODS.items()} == METRIC_METHODS
    for method in recipe.METHODS:
        options = recipe.parse(["--method", method])
        backbone = recipe.build_backbone((28, 28, 1), options)
        assert recipe.build_learner(backbone, options).name == method
        assert options.steps or options.pretrain_steps
    with pytest.raises(ValueError, match="Something must be trained"):
        recipe.main(["--method=r2d2", "--steps=0", "--run=/nonexistent"])


def drawing(*number):
    """A picture of 16x16 bits, True where there is ink."""
    return np.random.default_rng(number).random((16, 16)) < 0.2


def png(bits):
    file = io.BytesIO()
    Image.fromarray(~bits).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def alphabets(tmp_path):
    """Seven background and two evaluation alphabets of three characters, six drawings each."""
    names = [*"abcdefg", "Angelic", "ULOG"]
    bits = np.stack([drawing(c, d) for c in range(3 * len(names)) for d in range(6)])
    path = tmp_path / "alphabets.npz"
    np.savez(
        path,
        images=np.packbits(bits.reshape(len(bits), -1), axis=1),
        image_shape=[16, 16],
        class_index=np.repeat(np.arange(3 * len(names)), 6),
        class_alphabet=np.repeat(names, 3),
        class_character=np.tile(["one", "two", "three"], len(names)),
    )
    return path


def write_runs(path, n_runs=2, n_way=3):
    """An archive in the layout of the official runs; trial k shows character k again."""
    with zipfile.ZipFile(path, "w") as archive:
        for run in (f"run{number + 1:02d}" for number in range(n_runs)):
            pairs = [(f"{run}/test/item{k}.png", f"{run}/training/class{k}.png") for k in "012"]
            for names in pairs[:n_way]:
                for name in names:
                    archive.writestr(name, png(drawing(len(name))))
            lines = "\n".join(" ".join(names) for names in pairs)
            archive.writestr(f"{run}/class_labels.txt", lines)
    return path


def test_lake_recipe(load, shallow, alphabets, tmp_path, capsys):
    recipe, run = load("few_shot/lake_one_shot.py"), tmp_path / "run"
    arguments = f"{TINY} --data {alphabets} --run {run}".split()
    archive = write_runs(tmp_path / "runs.zip")
    reports = recipe.main([*arguments, "--runs", str(archive), "--within-alphabet"])
    assert {name: r.n_episodes for name, r in reports.items()} == {
        "3way_1shot": 4,
        "official_runs": 2,
    }
    shown = capsys.readouterr().out
    report = reports["3way_1shot"]
    assert f"error rate {100 * (1 - report.mean):.1f} % ± {100 * report.ci:.1f}" in shown
    assert "humans 4.5 %" in shown
    with np.load(run / "3way_1shot.npz") as frozen:
        assert {name.split("/")[0] for name in frozen["class_names"]} == {"Angelic", "ULOG"}


def test_lake_splits_alphabets(load, alphabets):
    recipe = load("few_shot/lake_one_shot.py")
    options = recipe.parse(["--test-ways", "3"])
    parts = recipe.split_alphabets(cli.load_examples(str(alphabets), 16), options)
    groups = {part: set(examples.groups) for part, examples in parts.items()}
    assert groups["test"] == {"Angelic", "ULOG"}
    assert len(groups["validation"]) == 5
    assert groups["train"] | groups["validation"] == set("abcdefg")
    assert not groups["train"] & groups["validation"]
    assert len(recipe.EVALUATION_ALPHABETS) == 20


def test_prototypical_speed_benchmark(load, monkeypatch, tmp_path):
    name, record = "benchmarks/prototypical_speed.py", tmp_path / "record.json"
    module, rates = load(name), {"contiguous_format": 10.0, "channels_last": 20.0}
    figures = module.main([*TINY_SPEED.split(), "--worker"])
    assert all(figures[key] > 0 for key in ("tasks_per_second", "first_epoch_seconds"))

    def run(python, script, options, *more):
        layout = more[0].removeprefix("--layout=")
        rate = rates[layout] if script == module.TORCH_LOOP else 40.0
        figures = ("first_epoch_seconds", "peak_memory_mb")
        return {"tasks_per_second": rate, **dict.fromkeys(figures, 1.0)}

    monkeypatch.setattr(module, "run", run)
    figures = module.main(["--rounds=2", "--torch-python=/a/b", "--record", str(record)])
    assert figures["ratio_to_torch"] == 4.0
    assert figures["ratio_to_torch_channels_last"] == 2.0
    written = json.loads(record.read_text())
    assert written["figures"] == figures
    assert "--torch-python=PATH" in written["command"]
