"""The recipes of learned optimizers, on few and short tasks."""

import json

import pytest

TINY = (
    "--steps=2 --epochs=1 --n-tasks=2 --horizon=4 --unroll=2 --units=3 --n-validation=2 --n-test=3 "
    "--rates 0.01 0.1"
)
NAMES = ["LSTM", "SGD", "momentum", "RMSprop", "Adam"]


@pytest.mark.parametrize(
    ("recipe", "options"), [("quadratics", ["--size=2"]), ("mlp", ["--hidden=2"])]
)
def test_learned_optimizer_recipes(load, recipe, options, tmp_path):
    if recipe == "mlp":
        pytest.importorskip("sklearn")
    run, record = tmp_path / "run", tmp_path / "record.json"
    arguments = [*TINY.split(), *options, f"--run={run}", f"--record={record}"]
    returned = load(f"learned_optimizers/{recipe}.py").main(arguments)
    assert json.loads(record.read_text("utf8")) == returned
    rows = returned["table"]["rows"]
    assert [row[0] for row in rows] == NAMES
    assert all(row[1] in ("0.01", "0.1") for row in rows[1:])
    assert {path.name for path in run.iterdir()} == {"curves.png", "learned.keras", "results.json"}
    assert "| LSTM | – |" in load("results_table.py").growth(returned)


def test_a_rate_that_diverges_is_not_taken(load):
    module = load("learned_optimizers/quadratics.py")
    options = module.parser("", "").parse_args([*TINY.split(), "--rates", "1000", "0.001"])
    options.horizon = 60
    rule = module.tuned_rule(module.GradientDescent, module.Quadratics(2), options)
    assert rule.learning_rate == 0.001
