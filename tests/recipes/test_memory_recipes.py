"""The recipes of memory networks, on tiny data."""

import itertools
import json

import pytest

TINY = (
    "--image-size=16 --rotate=all --steps=2 --epochs=1 --n-tasks=2 --n-way=3 --n-presentations=3 "
    "--n-query=2 --test-query=2 --test-ways 3 --n-validation=2 --n-episodes=4 --units=4 "
    "--n-slots=6 --slot-width=3 --n-heads=1 --filters=4"
)


@pytest.mark.parametrize(
    "options",
    [
        "--core mann --backbone conv4 --pretrain-steps=2 --batch-size=4",
        pytest.param("--core lstm", marks=pytest.mark.slow),
    ],
)
def test_mann_recipe(load, shallow, pictures, options, tmp_path):
    run, record = tmp_path / "run", tmp_path / "record.json"
    arguments = f"{TINY} {options} --data={pictures} --run={run} --record={record}".split()
    returned = load("few_shot/mann.py").main(arguments)
    assert json.loads(record.read_text()) == json.loads(json.dumps(returned))
    assert returned["table"]["columns"] == ["learner", "1", "2", "3"]
    rows = {row[0]: row[1:] for row in returned["table"]["rows"]}
    assert rows["paper (MANN)"] == ["36.4", "82.8", "91.0"]
    # The first instance of a class can only be guessed.
    assert float(rows["nearest earlier picture"][0].split()[0]) < 70
    written = {path.name for path in run.iterdir()}
    assert {"training.png", "instances.png", "learner.keras", "saved_model"} <= written
    assert ("memory.png" in written) == ("mann" in options)


def test_the_control_looks_at_earlier_pictures_only(load):
    module = load("few_shot/mann.py")
    x = [[[0.0], [10.0], [0.1], [9.0]]]
    inputs = {"stream_x": module.tf.constant(x), "stream_y": module.tf.constant([[1, 2, 0, 0]])}
    outputs = module.NearestEarlier(3)(inputs)
    assert outputs[0, 0].numpy().tolist() == [0.0, 0.0, 0.0]
    assert module.tf.argmax(outputs[0, 1:], axis=1).numpy().tolist() == [1, 1, 2]


COPY = (
    "--steps=2 --epochs=1 --n-tasks=3 --n-episodes=6 --longest=3 --most-items=3 --width=2 "
    "--units=4 --n-slots=4 --slot-width=3 --n-heads=1"
)


@pytest.mark.parametrize(
    "options", ["--task=copy", pytest.param("--task=recall --core=lstm", marks=pytest.mark.slow)]
)
def test_copy_recipe(load, options, tmp_path):
    run, record = tmp_path / "run", tmp_path / "record.json"
    arguments = f"{COPY} {options} --run={run} --record={record}".split()
    returned = load("memory/copy_tasks.py").main(arguments)
    assert json.loads(record.read_text()) == json.loads(json.dumps(returned))
    assert 0 <= float(returned["table"]["rows"][0][1].split()[0]) <= 100
    written = {path.name for path in run.iterdir()}
    assert {"training.png", "model.keras", "results.json"} <= written


def first_sequence(load, task):
    module = load("memory/copy_tasks.py")
    options = module.parse([*COPY.split(), "--task", task, "--n-tasks", "40"])
    return [x.numpy() for x in next(iter(module.batches(options, 0)))]


def test_copy_sequences(load):
    inputs, targets, due = first_sequence(load, "copy")
    ends = inputs[:, :, 2].argmax(axis=1)
    assert set(ends) == {1, 2, 3}
    for x, y, is_due, end in zip(inputs, targets, due, ends, strict=True):
        assert is_due.nonzero()[0].tolist() == list(range(end + 1, 2 * end + 1))
        assert (y[is_due > 0] == x[:end, :2]).all()
        assert (x[end + 1 :] == 0).all() and (y[is_due == 0] == 0).all()


def test_recall_sequences(load):
    inputs, targets, due = first_sequence(load, "recall")
    for x, y, is_due in zip(inputs, targets, due, strict=True):
        marks, (question, end) = x[:, 2].nonzero()[0], x[:, 3].nonzero()[0]
        assert question == 4 * len(marks) and end == question + 4
        items = [x[mark + 1 : mark + 4, :2] for mark in marks]
        assert is_due.nonzero()[0].tolist() == [end + 1, end + 2, end + 3]
        pairs = itertools.pairwise(items)
        asked = x[question + 1 : question + 4, :2]
        answers = [after for before, after in pairs if (before == asked).all()]
        assert any((y[is_due > 0] == after).all() for after in answers)


def test_memory_speed_benchmark(load):
    arguments = "--n-tasks=1 --lengths 2 3 --slots 4 --length=2 --n-slots=5 --units=2 --n-steps=1"
    returned = load("benchmarks/memory_speed.py").main([*arguments.split(), "--cores", "mann"])
    rows = returned["table"]["rows"]
    assert [row[1:4] for row in rows] == [["1", "2", "5"], ["1", "3", "5"], ["1", "2", "4"]]
    assert all(float(row[4]) > 0 and float(row[5]) > 0 for row in rows)
