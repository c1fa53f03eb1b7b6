"""Fine-tuning under bad input and interruption, what its summary says, and few-shot use of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfmeta
from tfmeta.learners import PrototypicalNetwork, SimpleShot
from tfmeta.models import pretrained, squeezenet
from tfmeta.transfer import FineTune, read_h5


def backbone():
    layers = [
        keras.layers.Dense(6, name="low"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Dense(5, name="high"),
    ]
    return keras.Sequential([keras.Input((4,)), *layers], name="body")


def data(n=24):
    draws = np.random.default_rng(0)
    y = np.arange(n) % 3
    return (draws.standard_normal((n, 4)) + 2.0 * y[:, None]).astype("float32"), y


def make(**options):
    keras.utils.set_random_seed(0)
    model = FineTune(backbone(), 3, **options)
    model.compile("adam", metrics=["accuracy"])
    return model


def printed_summary(model):
    """The mark, Y or N, of each layer, and the number of weights that train."""
    lines = []
    model.summary(print_fn=lines.append)
    rows = [line.split("│") for line in "\n".join(lines).splitlines()]
    cells = [[cell.strip(" └") for cell in row] for row in rows if len(row) == 6]
    marks = {row[1].split()[0]: row[4] for row in cells if row[4]}
    trained = next(line for line in "\n".join(lines).splitlines() if "Trainable params" in line)
    return marks, int(trained.split(":")[1].split("(")[0].replace(",", ""))


def test_the_summary_shows_what_is_frozen():
    model = make(stages=[("head", 1), ("high|head", 1)])
    marks, n_trained = printed_summary(model)
    assert marks == {"body": "N", "low": "N", "norm": "N", "high": "N", "head": "Y"}
    assert n_trained == 18
    model.use_stage(1)
    marks, n_trained = printed_summary(model)
    assert marks == {"body": "Y", "low": "N", "norm": "N", "high": "Y", "head": "Y"}
    assert n_trained == 18 + 35
    # The marks are only shown: what trains stays as it was.
    assert len(model.trainable_variables) == 4
    assert all(layer.trainable for layer in model.backbone.layers)


class Interrupted(keras.callbacks.Callback):
    """Ctrl-C at a step; keeps the weights of the step before."""

    def __init__(self, step):
        super().__init__()
        self.step, self.n_steps = step, 0

    def on_train_batch_end(self, batch, logs=None):
        self.n_steps += 1
        if self.n_steps == self.step:
            self.weights = self.model.get_weights()
            raise KeyboardInterrupt


@pytest.mark.parametrize("batch_norm", ["frozen", "recalibrated"])
def test_an_interrupted_fit_keeps_its_last_weights(batch_norm):
    model, callback = make(batch_norm=batch_norm), Interrupted(4)
    before = model.get_weights()
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data(), batch_size=8, epochs=3, callbacks=[callback], verbose=0)
    for now, then in zip(model.get_weights(), callback.weights, strict=True):
        np.testing.assert_array_equal(now, then)
    assert not np.array_equal(model.get_weights()[0], before[0])
    losses = model.fit(*data(), batch_size=8, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()


def test_an_interrupted_fit_on_features_leaves_a_model_of_examples():
    model = make()
    with pytest.raises(KeyboardInterrupt):
        model.fit_on_features(*data(), batch_size=8, callbacks=[Interrupted(2)], verbose=0)
    assert model.predict(data()[0], verbose=0).shape == (24, 3)
    assert len(model.trainable_variables) == 8
    model.fit(*data(), verbose=0)


@pytest.mark.parametrize("fit", ["fit", "fit_on_features"])
def test_a_class_without_examples_is_refused(fit):
    model, (x, y) = make(), data()
    before = model.get_weights()
    train = getattr(model, fit)
    with pytest.raises(ValueError, match=r"must have examples.*none of \[2\]"):
        train(x[y < 2], y[y < 2], verbose=0)
    with pytest.raises(ValueError, match=r"class numbers 0 \.\.\. 2.*also: \[3\]"):
        train(x, y + 1, verbose=0)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_labels_of_other_losses_are_let_pass():
    model, (x, y) = make(), data()
    model.compile("adam", loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    model.fit(x[y < 2], tf.one_hot(y[y < 2], 3), verbose=0)


@pytest.mark.parametrize("share", [0.5, 0.98])
def test_a_damaged_file_of_weights(share, tmp_path):
    path = tmp_path / "whole.weights.h5"
    squeezenet().save_weights(path)
    content = path.read_bytes()
    (tmp_path / "cut.weights.h5").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"HDF5 format.*cut\.weights\.h5.*Fetch the file again"):
        read_h5(tmp_path / "cut.weights.h5")
    with pytest.raises(ValueError, match=r"cut\.weights\.h5"):
        pretrained("squeezenet", weights=tmp_path / "cut.weights.h5")


def test_damaged_content_of_a_file_of_weights(tmp_path):
    path = tmp_path / "weights.weights.h5"
    squeezenet().save_weights(path)
    content = bytearray(path.read_bytes())
    start = content.index(b"TREE")
    content[start : start + 4] = b"XXXX"
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"weights\.weights\.h5"):
        read_h5(path)


@pytest.mark.parametrize("learner", [SimpleShot, PrototypicalNetwork])
def test_a_fine_tuned_backbone_is_evaluated_on_episodes(learner):
    model = make()
    model.fit(*data(), epochs=2, verbose=0)
    before = model.get_weights()
    options = {"transform": "UN"} if learner is SimpleShot else {}
    few_shot = learner(model.backbone, **options)
    examples = tfmeta.data.Examples(*data(60))
    episodes = tfmeta.data.episode_dataset(examples, n_way=3, n_shot=2, n_query=4, n_tasks=4)
    report = tfmeta.evaluate_episodes(few_shot, episodes, n_episodes=8)
    assert report.mean > 0.5
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_fine_tuned_backbone_is_exported_as_a_learner(tmp_path):
    model = make()
    model.fit(*data(), verbose=0)
    learner = PrototypicalNetwork(model.backbone)
    path = tfmeta.export_learner(learner, tmp_path / "served")
    assert "adapt_and_predict" in tf.saved_model.load(path).signatures
