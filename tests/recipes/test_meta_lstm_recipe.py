"""The recipe of the LSTM meta-learner, on tiny pictures."""

import json

TINY = (
    "--image-size=16 --steps=2 --epochs=1 --n-tasks=2 --n-query=2 --test-query=2 --n-way=3 "
    "--n-validation=2 --n-episodes=4 --inner-steps=1 --filters=2 --units=3 --rotate=all "
    "--methods maml meta_lstm fixed_gates"
)


def test_meta_lstm_recipe(load, shallow, pictures, tmp_path):
    run, record = tmp_path / "run", tmp_path / "record.json"
    arguments = [*TINY.split(), f"--data={pictures}", f"--run={run}", f"--record={record}"]
    module = load("few_shot/meta_lstm.py")
    returned = module.main(arguments)
    assert json.loads(record.read_text("utf8")) == returned
    rows = returned["comparison"]
    assert [row["learner"] for row in rows] == list(module.METHODS.values())
    assert returned["n_episodes"] == 4
    assert (run / "meta_lstm" / "saved_model" / "saved_model.pb").exists()
    assert "MetaLSTM, fixed gates" in load("results_table.py").comparison(returned)


def test_fixed_gates_stay(load):
    module = load("few_shot/meta_lstm.py")
    options = module.parse([])
    learned, fixed = (
        module.build_learner(method, (16, 16, 1), options) for method in list(module.METHODS)[1:]
    )
    assert len(learned.trainable_variables) - len(fixed.trainable_variables) == 7
