"""The README's code runs: its blocks are taken from the page and executed on tiny data."""

import pathlib
import re

import keras
import numpy as np
import tensorflow as tf

import tfmeta
from tfmeta.models import conv4

PAGE = (pathlib.Path(__file__).parents[1] / "README.md").read_text("utf8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def block(word):
    """The one block that holds a word."""
    (found,) = [code for code in BLOCKS if word in code]
    return found


def toy_examples():
    draws = np.random.default_rng(0)
    x = draws.integers(0, 256, (12, 1, 16, 16, 1)) + draws.integers(-20, 20, (12, 20, 16, 16, 1))
    x = np.clip(x, 0, 255).astype("uint8").reshape(-1, 16, 16, 1)
    return tfmeta.data.from_arrays(x, np.repeat(np.arange(12), 20))


def small(code):
    """The code with tiny numbers in place of the README's."""
    for old, new in (
        ("steps_per_epoch=100", "steps_per_epoch=1"),
        ("epochs=10", "epochs=1"),
        ("n_episodes=200", "n_episodes=2"),
        ("n_episodes=600", "n_episodes=2"),
        ('load_episodes(test, "test.npz"))', 'load_episodes(test, "test.npz"), n_episodes=2)'),
        ("n_way=5", "n_way=2"),
        ("conv4()", "conv4((16, 16, 1), filters=4)"),
    ):
        code = code.replace(old, new)
    return code


def test_train_and_serve(tmp_path, monkeypatch, shallow):
    monkeypatch.chdir(tmp_path)
    examples = toy_examples()
    monkeypatch.setattr(tfmeta.data, "from_directory", lambda path, **options: examples)
    names = {}
    exec(small(block("from_directory(")), names)
    pictures, new_pictures = examples.x[[0, 20, 40]], examples.x[[1, 21]]
    served = {"pictures": pictures, "new_pictures": new_pictures, "labels": np.int32([0, 1, 2])}
    served = {key: tf.constant(value) for key, value in served.items()}
    exec(block("saved_model.load"), served)
    assert served["state"]["class_names"].numpy().tolist() == [b"cat", b"dog", b"owl"]
    served["ape_pictures"] = tf.constant(examples.x[[60, 61]])
    exec(block('served["add_class"]'), served)
    assert served["state"]["class_names"].numpy().tolist() == [b"cat", b"owl", b"ape"]
    names["learner"].save("last.keras")
    exec(small(block("last.keras")), {**names, "train": names["train"]})


def test_unknown_and_changing_classes(shallow):
    _, validation, test = tfmeta.data.split_classes(toy_examples(), (0.2, 0.4, 0.4))
    learner = tfmeta.learners.PrototypicalNetwork(conv4((16, 16, 1), filters=4))
    names = {"tfmeta": tfmeta, "learner": learner, "validation": validation, "test": test}
    names |= {"support_x": test.x[:3], "support_y": [0, 1, 2], "query_x": test.x[3:5]}
    code = block("calibrate_rejection(").replace('"n_way": 5', '"n_way": 2')
    exec(small(code).replace('"n_query": 15', '"n_query": 2'), names)
    assert learner.rejection.known_kept >= 0.95
    names |= {"new_class_x": test.x[5:7], "more_x": test.x[7:9]}
    exec(block("learner.add_class"), names)
    assert names["state"].head.counts.numpy().tolist() == [3, 1, 2]


def test_texts(tmp_path):
    path = tmp_path / "intents.csv"
    rows = [f"ask about topic{k} number{i},class {k}" for k in range(12) for i in range(4)]
    path.write_text("\n".join(["text,label", *rows]))
    names = {"tfmeta": tfmeta}
    exec(block("text_ngrams(").replace("path/to/intents.csv", str(path)), names)
    episodes = tfmeta.data.episode_dataset(names["test"], n_way=2, n_shot=1, n_query=2)
    inputs, query_y = next(iter(episodes))
    assert names["learner"](inputs).shape == (1, 4, 2)
    np.testing.assert_array_equal(tf.argmax(names["control"](inputs), axis=-1), query_y)


def test_time_series(tmp_path):
    path = tmp_path / "sales.csv"
    points = [f"shop {k},{2 + np.sin(t / 2 + k)}" for k in range(3) for t in range(62 - k)]
    path.write_text("\n".join(["id,value", *points]))
    names = {"keras": keras, "tfmeta": tfmeta}
    code = small(block("forecast_tasks(")).replace("path/to/sales.csv", str(path))
    exec(code.replace("inner_steps=5", "inner_steps=1"), names)
    assert names["too_short"] == ("shop 2",)
    assert names["future"].shape == (2, 6)


def test_memory(capsys):
    source = tfmeta.data.Examples(np.zeros((20, 28, 28, 1), "uint8"), np.repeat(np.arange(2), 10))
    names = {"keras": keras, "tfmeta": tfmeta, "train": source, "test": source}
    code = small(block("stream_dataset")).replace("steps_per_epoch=1000", "steps_per_epoch=1")
    exec(code.replace("n_tasks=16", "n_tasks=1").replace("n_episodes=160", "n_episodes=2"), names)
    assert "10: " in capsys.readouterr().out


def test_learned_optimizer():
    layer = keras.layers.Dense(1)
    model = keras.Sequential([keras.Input((2,)), layer])
    names = {"keras": keras, "tfmeta": tfmeta, "conv4": conv4, "model": model}
    code = block("LearnedOptimizer(").replace("horizon=100, unroll=20", "horizon=4, unroll=2")
    exec(small(code).replace("steps_per_epoch=60", "steps_per_epoch=2"), names)
    before = layer.kernel.numpy()
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    assert np.any(layer.kernel.numpy() != before)
    state = names["maml"].adapt(np.zeros((5, 28, 28, 1), "uint8"), np.arange(5))
    assert len(state.weights) == len(names["maml"].network.trainable_variables)


def test_own_update_rule_adapts():
    names = {"keras": keras, "tf": tf, "tfmeta": tfmeta, "conv4": conv4}
    exec(block("class SignDescent"), names)
    state = names["learner"].adapt(np.zeros((5, 28, 28, 1), "uint8"), np.arange(5))
    assert len(state.weights) == len(names["learner"].network.trainable_variables)


def test_own_learner_fits_and_exports(tmp_path, shallow):
    names = {"tfmeta": tfmeta, "tf": tf, "conv4": lambda: conv4((16, 16, 1), filters=4)}
    exec(block("class NearestSupport"), names)
    learner = names["learner"]
    learner.compile(keras.optimizers.Adam(1e-3), metrics=["accuracy"])
    episodes = tfmeta.data.episode_dataset(toy_examples(), n_way=3, n_shot=2, n_query=2, n_tasks=2)
    before = [w.numpy() for w in learner.trainable_variables]
    learner.fit(episodes, steps_per_epoch=2, verbose=0)
    assert any(
        np.any(a != b.numpy()) for a, b in zip(before, learner.trainable_variables, strict=True)
    )
    tfmeta.export_learner(learner, tmp_path / "served")


def test_episodes_as_in_life():
    x = np.random.default_rng(0).integers(0, 256, (20 * 25, 4, 4, 1)).astype("uint8")
    sources = [
        tfmeta.data.Examples(x + k, np.repeat(np.arange(20), 25), groups=["a"] * 20)
        for k in range(3)
    ]
    names = dict(zip(("train", "drawings", "photos"), sources, strict=True), test=sources[0])
    exec(block("n_unknown=5"), names)
    assert next(iter(names["varied"]))[0]["support_mask"].shape == (8, 200)
    assert next(iter(names["open_set"]))[1].numpy().min() == -1


def test_transfer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def tiny_pretrained(name):
        layers = [keras.layers.Conv2D(2, 3), keras.layers.GlobalAveragePooling2D()]
        return keras.Sequential([keras.Input((16, 16, 1)), *layers])

    monkeypatch.setattr(tfmeta.models, "pretrained", tiny_pretrained)
    examples = toy_examples()
    names = {"keras": keras, "pictures": examples.x[:60], "labels": examples.y[:60]}
    exec(block("FineTune(").replace('("all", 7)', '("all", 1)'), names)
    pictures = names["pictures"][:2] / np.float32(255)
    wanted = names["adapted"].backbone(pictures)
    np.testing.assert_allclose(names["plain"](pictures), wanted, rtol=1e-4, atol=1e-5)
    assert (tmp_path / "delta.npz").exists()
    names.update(tfmeta=tfmeta, examples=examples.select(range(3)))
    exec(block("tfmeta.advise(").replace("minutes=5", 'methods=["prototypes"]'), names)
    assert names["advice"].use == "prototypes"
    served = tf.saved_model.load(str(tmp_path / "served_classifier")).signatures["serving_default"]
    assert served is not None
