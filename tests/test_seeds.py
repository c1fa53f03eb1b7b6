"""Scores over seeds against intervals by hand."""

import json

import numpy as np
import pytest

from tfmeta import cli, runs, seeds


def test_the_same_scores_whatever_ran_before():
    def run(seed):
        return {"score": float(np.random.rand()) + seed}

    first = seeds.over_seeds(run, 2)
    np.random.rand()
    assert seeds.over_seeds(run, 3)["score"][:2] == first["score"]
    assert seeds.over_seeds(run, 2, first=1)["score"][0] == first["score"][1]
    with pytest.raises(ValueError, match="--seeds 1"):
        seeds.over_seeds(run, 1)


def test_the_record_has_paired_differences(tmp_path):
    path = tmp_path / "record.json"
    options = cli.parse(
        seeds.parser("A recipe.", recipe="mine.py"), ["--seeds", "3", "--record", str(path)]
    )
    accuracies = {"a": [0.5, 0.6, 0.7], "b": [0.6, 0.7, 0.8]}
    others = {"AUROC": {"b": [0.9, 0.9, 0.9]}}
    record = seeds.seeds_record(accuracies, title="T", command=options.command, others=others)
    # The t quantile of two degrees of freedom is 4.3027, the standard error 10 / sqrt(3).
    assert record["table"]["rows"] == [
        ["a", "60.0 % ± 24.8", "–", "–"],
        ["b", "70.0 % ± 24.8", "+10.0 ± 0.0", "0.900 ± 0.000"],
    ]
    assert record["title"] == "T, mean and 95 % interval over 3 seeds"
    runs.write_table(record, options.record)
    assert json.loads(path.read_text("utf8")) == record
