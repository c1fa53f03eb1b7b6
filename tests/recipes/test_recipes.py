"""Every recipe's `main` runs on tiny data; a recipe without a row here fails the last test."""

import gzip
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tfmeta import cli
from tfmeta.inner_loop import MetaSGD

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"
TINY_CLASSES = (
    "--image-size=16 --steps=2 --epochs=1 --n-tasks=2 --n-query=2 --test-query=2 "
    "--n-validation=2 --n-episodes=4"
)
TINY = {
    "few_shot/prototypical.py": f"{TINY_CLASSES} --n-way=3 --test-ways 3",
    "few_shot/maml.py": f"{TINY_CLASSES} --n-way=3 --inner-steps=1 --evaluation-steps=2",
    "few_shot/compare_gradient.py": f"{TINY_CLASSES} --n-way=3 --methods maml anil",
    "few_shot/meta_lstm.py": None,  # in test_meta_lstm_recipe.py
    "few_shot/metric.py": None,  # in test_metric_recipes.py
    "few_shot/lake_one_shot.py": None,  # in test_metric_recipes.py
    "few_shot/sinusoid_maml.py": "--steps=2 --epochs=1 --n-tasks=2 --n-validation=2 --n-episodes=4 "
    "--inner-rate=0.001",
    "few_shot/mann.py": None,  # in test_memory_recipes.py
    "memory/copy_tasks.py": None,  # in test_memory_recipes.py
    "few_shot/text_intents.py": "--steps=2 --epochs=1 --n-tasks=2 --n-way=3 --n-query=2 "
    "--n-validation=2 --n-episodes=4 --test-query=2 --test-ways 3 --test-shots 1 2",
    "benchmarks/cached_features.py": "--n-pictures=2 --image-size=32 --rounds=1 "
    "--n-episodes=2 --heads SimpleShot",
    "benchmarks/episodes.py": "--n-classes=6 --n-batches=2 --rounds=2 --n-steps=1 --n-tasks=2",
    "benchmarks/maml_speed.py": "--rounds=1 --n-steps=1 --n-tasks=2 --n-way=2 --n-query=1 "
    "--inner-steps=1 --filters=2 --matrix-size=8",
    "benchmarks/maml_torch_loop.py": None,  # needs PyTorch
    "benchmarks/memory_speed.py": None,  # in test_memory_recipes.py
    "benchmarks/prototypical_speed.py": None,  # in test_metric_recipes.py
    "benchmarks/prototypical_torch_loop.py": None,  # needs PyTorch
    "benchmarks/side_by_side.py": None,  # run by the two above
    "learned_optimizers/mlp.py": None,  # in test_learned_optimizer_recipes.py
    "learned_optimizers/quadratics.py": None,  # in test_learned_optimizer_recipes.py
    "domain_adaptation/digits.py": None,  # in test_transfer_recipes.py
    "transfer/joint_policy.py": None,  # in test_transfer_recipes.py
    "transfer/self_supervised.py": None,  # in test_self_supervised_recipe.py
    "time_series/m4.py": None,  # in test_time_series_recipe.py
    "transfer/episodic.py": None,  # in test_fine_tune_recipes.py
    "transfer/fine_tune.py": None,  # in test_fine_tune_recipes.py
    "results_table.py": None,
}


@pytest.mark.parametrize("name", ["few_shot/prototypical.py", "few_shot/maml.py"])
def test_class_recipe(load, shallow, name, pictures, tmp_path):
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


@pytest.mark.slow
@pytest.mark.parametrize("method", ["proto_maml", "reptile"])
def test_methods_of_the_maml_recipe(load, method, pictures, tmp_path):
    arguments = f"{TINY['few_shot/maml.py']} --data {pictures} --rotate all --method {method}"
    record = tmp_path / "record.json"
    places = ["--run", str(tmp_path / "run"), "--record", str(record)]
    reports = load("few_shot/maml.py").main([*arguments.split(), *places])
    assert reports["3way_1shot"].name == method
    assert json.loads(record.read_text())["learner"] == load("few_shot/maml.py").METHODS[method][0]


def test_every_method_of_the_maml_recipe_builds(load):
    recipe = load("few_shot/maml.py")
    for method in recipe.METHODS:
        options = recipe.parse(["--method", method, "--n-way", "3"])
        assert recipe.build_learner((16, 16, 1), options).name == method


@pytest.mark.slow
def test_train_on_validation_too(load, pictures, tmp_path):
    arguments = f"{TINY['few_shot/prototypical.py']} --data {pictures} --rotate all".split()
    arguments += ["--train-on", "trainval"]
    reports = load("few_shot/prototypical.py").main([*arguments, "--run", str(tmp_path / "run")])
    assert reports["3way_1shot"].n_episodes == 4
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    options = cli.parser("", recipe="")
    cli.add_class_options(options)
    options = cli.parse(options, [*arguments, "--run", str(tmp_path / "other")])
    train, validation, test = cli.load_class_splits(options)
    assert validation is None
    assert {n.split("/rot")[0] for n in train.class_names} == {
        *split["train"],
        *split["validation"],
    }
    assert {n.split("/rot")[0] for n in test.class_names} == set(split["test"])


@pytest.mark.parametrize(
    ("method", "n_shot", "steps"),
    [("maml", 10, 2), pytest.param("reptile", 5, 2, marks=pytest.mark.slow)],
)
def test_sinusoid_recipe(load, method, n_shot, steps, tmp_path):
    run = tmp_path / "run"
    name = "few_shot/sinusoid_maml.py"
    arguments = [*TINY[name].split(), "--method", method, "--n-shot", str(n_shot)]
    arguments += ["--run", str(run), "--evaluation-steps", "1", str(steps)]
    module = load(name)
    reports = module.main(arguments)
    assert set(reports) == {f"sinusoid_{n_shot}shot_{k}step" for k in (1, steps)}
    assert (run / f"regression_sinusoid_{n_shot}shot.png").stat().st_size > 0
    assert len({report.episode_hash for report in reports.values()}) == 1
    record = json.loads((run / "results.json").read_text())
    assert record["learner"] == module.NAMES[method]
    assert record["options"]["train_shot"] == (50 if method == "reptile" else None)


def test_sinusoid_methods(load):
    module = load("few_shot/sinusoid_maml.py")
    learners = {}
    for method in module.NAMES:
        options = module.parse(["--method", method])
        learners[method] = module.build_learner(options)
        assert (cli.reptile_optimizer(options) is None) == (method != "reptile")
    assert [learners[m].order for m in ("maml", "fomaml", "meta_sgd")] == [2, 1, 2]
    assert isinstance(learners["meta_sgd"].update_rule, MetaSGD)
    assert learners["reptile"].inner_steps * learners["reptile"].inner_batch_size == 50
    assert [learner.evaluation_steps for learner in learners.values()] == [10, 10, 1, 10]


@pytest.mark.parametrize(
    ("backbone", "ending"),
    [("ngrams", "csv"), pytest.param("cnn", "json.gz", marks=pytest.mark.slow)],
)
def test_text_recipe(load, backbone, ending, tmp_path):
    name, path, run = "few_shot/text_intents.py", tmp_path / f"intents.{ending}", tmp_path / "run"
    pairs = [[f"ask about topic{k} number{i}", f"class {k}"] for k in range(16) for i in range(6)]
    if ending == "csv":
        path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in pairs))
    else:
        path.write_bytes(gzip.compress(json.dumps({"train": pairs}).encode()))
    arguments = f"{TINY[name]} --data {path} --backbone {backbone} --run {run}".split()
    reports = load(name).main(arguments)
    assert set(reports) == {"3way_1shot", "3way_2shot"}
    results = json.loads((run / "results.json").read_text())["results"]
    assert [result["control"]["mean"] for result in results] == [1.0, 1.0]
    served = tf.saved_model.load(str(run / "saved_model")).signatures["serving_default"]
    answer = served(
        support_x=tf.constant(["ask about topic1", "another"]),
        support_y=tf.constant([0, 1]),
        class_names=tf.constant(["a", "b"]),
        query_x=tf.constant(["ask about topic1"]),
    )
    assert answer["class_name"].numpy().tolist() == [b"a"]


def test_comparison_of_gradient_learners(load, shallow, pictures, tmp_path):
    name, record = "few_shot/compare_gradient.py", tmp_path / "record.json"
    arguments = [*TINY[name].split(), "--data", str(pictures), "--rotate", "all"]
    arguments += ["--statistics", "transductive", "--record", str(record)]
    returned = load(name).main([*arguments, "--run", str(tmp_path / "run")])
    assert json.loads(record.read_text("utf8")) == returned
    rows = returned["comparison"]
    kinds = [(row["learner"], row["statistics"]) for row in rows]
    assert kinds == [("MAML", "transductive"), ("ANIL", "transductive")]
    assert rows[0]["difference"]["mean"] == 0.0
    differences = [row["mean"] - rows[0]["mean"] for row in rows]
    np.testing.assert_allclose([row["difference"]["mean"] for row in rows], differences)
    table = load("results_table.py").comparison(returned)
    assert "| ANIL | transductive | **" in table and "4 tasks each" in table


def test_a_run_never_writes_into_another(tmp_path):
    first = tmp_path / "deep" / "run"
    folders = [cli.new_folder(str(first)) for _ in range(3)]
    assert folders == [str(first), f"{first}-2", f"{first}-3"]


def test_episodes_benchmark(load, shallow):
    name = "benchmarks/episodes.py"
    figures = load(name).main(TINY[name].split())
    assert figures["episodes_per_second_best"] > 0
    assert 0 <= figures["waiting_share_of_a_step"] <= 1


def test_cached_features_benchmark(load, tmp_path):
    name, record = "benchmarks/cached_features.py", tmp_path / "record.json"
    figures = load(name).main([*TINY[name].split(), "--record", str(record)])
    assert set(figures) == {
        "pictures_per_second",
        "share_of_predict",
        "seconds_of_2_episodes_SimpleShot",
    }
    assert min(figures.values()) > 0
    assert json.loads(record.read_text())["figures"] == figures


def test_speed_benchmark(load, shallow, tmp_path):
    name, record = "benchmarks/maml_speed.py", tmp_path / "record.json"
    figures = load(name).main([*TINY[name].split(), "--record", str(record)])["figures"]
    assert figures["tasks_per_second"] > 0
    assert 0 < figures["seconds_to_the_first_step"] < 120
    assert figures["fit_in_per_cent_of_the_bare_step"] > 0
    assert not any("torch" in figure for figure in figures)
    assert json.loads(record.read_text())["figures"] == figures


def test_speed_benchmark_beside_torch(load, monkeypatch, capsys, tmp_path):
    module, rates = load("benchmarks/maml_speed.py"), {"tfmeta": 40.0, "one": 10.0, "two": 20.0}
    started = []

    def run(python, script, options, *more):
        side = "tfmeta" if script != module.TORCH_LOOP else "two" if more else "one"
        started.append((side, python, options.filters))
        figures = ("first_step_seconds", "peak_memory_mb", "fit_share", "matrix_product_gflops")
        return {"tasks_per_second": rates[side], **dict.fromkeys(figures, 1.0)}

    monkeypatch.setattr(module, "run", run)
    monkeypatch.setattr(module, "SWEEP", {"filters": (3, 5)})
    common = ["--rounds=2", "--torch-python=other", "--filters=4"]
    figures = module.main(common)["figures"]
    record = tmp_path / "record.json"
    grown = module.main([*common, "--sweep", f"--record={record}"])["table"]
    assert [(side, python == "other", filters) for side, python, filters in started] == [
        *[("tfmeta", False, 4), ("one", True, 4), ("two", True, 4)] * 2,
        ("tfmeta", False, 3),
        ("tfmeta", False, 5),
    ]
    assert figures["ratio_to_torch"] == 4.0
    assert figures["ratio_to_torch_2_processes"] == 2.0
    assert grown["rows"][1] == ("filters=5", "40.0", "0.400", "1")
    assert "filters=3" in capsys.readouterr().out
    text = load("results_table.py").growth(json.loads(record.read_text()))
    assert "| filters=5 | 40.0 | 0.400 | 1 |" in text


def test_counted_operations_of_a_task(load):
    module = load("benchmarks/maml_speed.py")
    sizes = ["--n-way=1", "--n-shot=1", "--n-query=1", "--filters=1", "--inner-steps=2"]
    # Maps of 14, 7, 4 and 2 pixels: 2 * 9 operations a pixel, and 2 in the head.
    first, others = 18 * 14**2, 18 * (7**2 + 4**2 + 2**2) + 2
    query = 2 * first + 3 * others
    for order, support in ((1, query), (2, 4 * first + 9 * others)):
        options = module.arguments_parser().parse_args([*sizes, f"--order={order}"])
        assert module.gflop_per_task(options) == pytest.approx((query + 2 * support) / 1e9)


def test_learners_side_by_side_are_on_the_same_episodes(load):
    table = load("results_table.py")
    names = ("omniglot_metric_r2d2", "omniglot_metric_relation")
    folder = table.FOLDER / "results"
    records = [json.loads((folder / f"{name}.json").read_text("utf8")) for name in names]
    relation = records[1]["results"][0]
    paper = {"learner": "RelationNetwork", "data": "omniglot", "value": "12.3", "source": "a paper"}
    text = table.learners_side_by_side(records, [{**paper, "setting": relation["setting"]}])
    assert f"| 2 | RelationNetwork | inductive | **{table.quantity(relation)}** (12.3) |" in text
    assert "|  | nearest centroid on raw inputs |" in text
    relation["episode_hash"] = "other"
    with pytest.raises(ValueError, match=r"not of the same episodes.*other"):
        table.learners_side_by_side(records, [])


def test_results_table_is_fresh(load):
    table = load("results_table.py")
    assert table.page() == (RECIPES / "README.md").read_text("utf8"), (
        "recipes/README.md is stale: run `python recipes/results_table.py`"
    )


def test_every_recipe_has_a_row():
    assert {str(path.relative_to(RECIPES)) for path in RECIPES.rglob("*.py")} == set(TINY)
