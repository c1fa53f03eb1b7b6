"""The recipe of unsupervised transfer, on tiny data."""

import functools
import json

from tfmeta.learners import BaselinePlusPlus

TINY = (
    "--image-size=16 --steps=2 --epochs=1 --n-tasks=2 --n-way=3 --n-query=2 --test-query=2 "
    "--test-ways 3 --n-validation=2 --n-episodes=4 --batch-size=4 --filters=4 --supervised-steps=1"
)


def test_the_recipe(load, shallow, pictures, tmp_path, capsys, monkeypatch):
    record = tmp_path / "record.json"
    places = [f"--data={pictures}", f"--split={pictures}:split"]
    places += [f"--run={tmp_path / 'run'}", f"--record={record}"]
    module = load("transfer/self_supervised.py")
    monkeypatch.setattr(module, "N_STATISTICS", 2)
    few_steps = functools.partial(BaselinePlusPlus, inner_steps=2)
    monkeypatch.setattr(module, "BaselinePlusPlus", few_steps)
    returned = module.main([*TINY.split(), *places])
    assert json.loads(record.read_text()) == json.loads(json.dumps(returned))
    names = [row["learner"] for row in returned["comparison"]]
    assert names[0] == "untrained backbone, prototypes"
    assert {
        "SimCLR, prototypes",
        "with labels, prototypes",
        "rotation prediction, linear probe",
    } <= set(names)
    assert returned["n_episodes"] == 4
    printed = capsys.readouterr().out
    assert "SimCLR: unsupervised transfer, 2 batches without labels" in printed
