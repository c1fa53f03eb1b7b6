"""Forecasting as few-shot learning, on tiny series."""

import json

import numpy as np
import pytest

TINY = (
    "--kind weekly --horizon 2 --window 4 --n-shot 2 --stride 2 --points-per-step 2 --units 4 "
    "--lstm-units 3 --first-steps 2 --steps 2 --epochs 1 --n-tasks 2 --rule-tasks 2 --n-query 1 "
    "--inner-steps 1 --scratch-steps 2"
)


@pytest.mark.parametrize(
    "methods",
    [("no adaptation", "maml", "lstm no adaptation"), pytest.param(None, marks=pytest.mark.slow)],
)
def test_m4_recipe(load, tmp_path, methods):
    draws = np.random.default_rng(0)
    values, lengths = draws.uniform(5, 9, 90), [20, 30, 40]
    data, run, record = (tmp_path / name for name in ("series.npz", "run", "record.json"))
    np.savez(
        data,
        train_values=values,
        train_offsets=np.cumsum([0, *lengths]),
        test_values=draws.uniform(5, 9, 6),
        test_offsets=np.array([0, 2, 4, 6]),
        period=np.array(["WEEKLY"] * 3),
    )
    arguments = [*TINY.split(), f"--data={data}", f"--run={run}", f"--record={record}"]
    arguments += ["--also", f"{data}:WEEKLY"]
    module = load("time_series/m4.py")
    methods = methods or module.METHODS
    arguments += ["--methods", *methods]
    returned = module.main(arguments)
    assert json.loads(record.read_text()) == json.loads(json.dumps(returned))
    rows = returned["table"]["rows"]
    assert [row[1] for row in rows] == 2 * [*methods, "Naive2"]
    assert rows[1][2:6] == rows[1 + len(rows) // 2][2:6]
    assert rows[0][5] == "–" and "±" in rows[1][5]
    assert len(module.METHODS) == 7
    written = {path.name for path in run.iterdir()}
    assert {"saved_model", "forecast_0.png", "report_0_maml.json", "results.json"} <= written
