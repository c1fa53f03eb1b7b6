"""The comparison of runs, and the table that is made from its record."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest

from tfmeta.evaluation import EpisodeReport

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"


def load(name):
    spec = importlib.util.spec_from_file_location(pathlib.Path(name).stem, RECIPES / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_run(folder, learner, results, episode_hash="ab12"):
    folder.mkdir()
    run = {"learner": learner, "minutes": 1.5, "command": f"python recipes/{learner}.py"}
    (folder / "results.json").write_text(json.dumps(run), "utf8")
    report = EpisodeReport(
        mean=float(np.mean(results)),
        ci=0.1,
        n_episodes=len(results),
        per_episode=np.array(results),
        metric="accuracy",
        statistics="inductive",
        episode_hash=episode_hash,
    )
    report.to_json(folder / "report_5way_1shot.json")


def test_runs_are_compared_pair_by_pair(tmp_path):
    write_run(tmp_path / "a", "MAML", [0.5, 0.7, 0.9])
    write_run(tmp_path / "b", "ANIL", [0.4, 0.6, 0.8])
    record = tmp_path / "record.json"
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    returned = load("compare_runs.py").main([*folders, "--record", str(record)])
    assert json.loads(record.read_text("utf8")) == returned
    first, second = returned["comparison"]
    np.testing.assert_allclose([first["difference"]["mean"], first["difference"]["ci"]], 0.0)
    # Every episode differs by the same, so the interval of the difference has no width.
    np.testing.assert_allclose(second["difference"]["mean"], -0.1)
    np.testing.assert_allclose(second["difference"]["ci"], 0.0, atol=1e-12)
    table = load("results_table.py").comparison(returned)
    assert "| MAML | inductive | **70.00 % ± 10.00** | – |" in table
    assert "| ANIL | inductive | **60.00 % ± 10.00** | -10.00 ± 0.00 |" in table


def test_runs_over_other_episodes_are_refused(tmp_path):
    write_run(tmp_path / "a", "MAML", [0.5, 0.7])
    write_run(tmp_path / "b", "ANIL", [0.4, 0.6], episode_hash="cd34")
    with pytest.raises(ValueError, match="same episodes"):
        load("compare_runs.py").main([str(tmp_path / "a"), str(tmp_path / "b")])
