"""The methods that `advise` compares, each of them one training and its predictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfmeta.controls import NearestCentroid
from tfmeta.data import Examples, episode_dataset
from tfmeta.functional.logistic_regression import feature_scale, linear_probe
from tfmeta.inner_loop import LayerStepRates
from tfmeta.learners import MAML, SimpleShot
from tfmeta.prefetching import prefetched
from tfmeta.transfer.fine_tune import FineTune

_CHUNK = 256
_META_STEPS = 50
_INNER_RATE = 1.0
Predict = Callable[[np.ndarray], np.ndarray]


class Target(NamedTuple):
    """The data that methods learn from, with the features of all of it.

    Attributes:
        examples: pictures or vectors, with their labels.
        features: `[n, d]` float32, of the backbone.
        backbone: from examples to features; no method changes it.
        seed: of all draws.
    """

    examples: Examples
    features: np.ndarray
    backbone: keras.Model
    seed: int

    @property
    def y(self) -> np.ndarray:
        """Class numbers `[n]`."""
        return self.examples.y


class Trained(NamedTuple):
    """What a training leaves.

    Attributes:
        predict: from row numbers `[m]` to class numbers `[m]`.
        n_trained: weights that were trained.
        n_weights: weights that predictions need.
        note: what else there is to say.
    """

    predict: Predict
    n_trained: int
    n_weights: int
    note: str = ""


def nearest_centroid(target: Target, rows: np.ndarray) -> Trained:
    """The control: nearest class mean on raw examples (`tfmeta.controls.NearestCentroid`).

    Args:
        target: the data.
        rows: what to train on.

    Returns:
        What the training leaves.
    """
    examples, n_classes = target.examples, target.examples.n_classes
    sums = np.zeros((n_classes, int(np.prod(examples.example_shape))), np.float32)
    for chunk, x in _flat(examples, rows):
        np.add.at(sums, target.y[chunk], x)
    means = sums / np.bincount(target.y[rows], minlength=n_classes)[:, None]
    support = {
        "support_x": tf.constant(means[None]),
        "support_y": tf.range(n_classes)[tf.newaxis],
    }
    control = NearestCentroid()

    def predict(rows: np.ndarray) -> np.ndarray:
        logits = [control({**support, "query_x": x[None]})[0] for _, x in _flat(examples, rows)]
        return np.concatenate(logits).argmax(axis=1)

    return Trained(predict, 0, means.size)


def prototypes(target: Target, rows: np.ndarray) -> Trained:
    """Nearest class mean of centred unit features: `SimpleShot` with `transform="CL2N"`.

    Args:
        target: the data.
        rows: what to train on.

    Returns:
        What the training leaves.
    """
    x, y = target.features[rows], target.y[rows]
    width = x.shape[1]
    learner = SimpleShot(keras.Sequential([keras.Input((width,)), keras.layers.Identity()]))
    learner.set_center(Examples(x, y))
    state = learner.adapt(tf.constant(x), tf.constant(y, tf.int32))

    def predict(rows: np.ndarray) -> np.ndarray:
        return _labels(learner.predict_query(state, tf.constant(target.features[rows])))

    n_numbers = (target.examples.n_classes + 1) * width
    return Trained(predict, 0, target.backbone.count_params() + n_numbers)


def probe(target: Target, rows: np.ndarray) -> Trained:
    """A linear classifier of the features that were computed once.

    Args:
        target: the data.
        rows: what to train on.

    Returns:
        What the training leaves.
    """
    kernel, bias = _probe(target, rows)

    def predict(rows: np.ndarray) -> np.ndarray:
        return (target.features[rows] @ kernel + bias).argmax(axis=1)

    n_trained = kernel.size + bias.size
    return Trained(predict, n_trained, target.backbone.count_params() + n_trained)


def adapted_maml(target: Target, rows: np.ndarray) -> Trained:
    """A head that starts from prototypes and adapts in five steps, whose rates are meta-learned.

    Proto-MAML (Triantafillou et al. 2020) on the features: episodes of the training examples teach
    the rates of the steps (LSLR, Antoniou et al. 2019); then the head adapts to all of them. A
    class with one training example leaves no episodes; the rates stay as they start then.

    Args:
        target: the data.
        rows: what to train on.

    Returns:
        What the training leaves.
    """
    y = target.y[rows]
    mean, scale = (v.numpy() for v in feature_scale(tf.constant(target.features[rows])))

    def standardized(rows: np.ndarray) -> np.ndarray:
        return (target.features[rows] - mean) / scale

    n_classes, width = target.examples.n_classes, len(mean)
    layers = [keras.layers.UnitNormalization(), keras.layers.Dense(n_classes, name="head")]
    learner = MAML(
        keras.Sequential([keras.Input((width,)), *layers]),
        update_rule=LayerStepRates(_INNER_RATE),
        adapt="head",
        head_init="prototypes",
        inner_steps=5,
    )
    x, least = standardized(rows), int(np.bincount(y).min())
    if least > 1:
        n_shot = max(1, min(5, least // 2))
        episodes = episode_dataset(
            Examples(x, y),
            n_way=min(5, n_classes),
            n_shot=n_shot,
            n_query=min(5, least - n_shot),
            n_tasks=4,
            seed=target.seed,
        )
        learner.compile(keras.optimizers.Adam(0.05))
        learner.fit(episodes, steps_per_epoch=_META_STEPS, verbose=0)
    state = learner.adapt(tf.constant(x), tf.constant(y, tf.int32))

    def predict(rows: np.ndarray) -> np.ndarray:
        return _labels(learner.predict_query(state, tf.constant(standardized(rows))))

    n_head = (width + 1) * n_classes
    n_rates = sum(v.shape[0] for v in learner.update_rule.trainable_variables)
    n_weights = target.backbone.count_params() + n_head + 2 * width
    note = "" if least > 1 else "its rates were not meta-learned: a class has one example to train"
    return Trained(predict, n_head + n_rates, n_weights, note)


class FineTuning:
    """Fine-tuning of all weights, from the linear probe as the head (Kumar et al. 2022, LP-FT).

    One model serves all trainings, which begin from the same weights: it is traced once.

    Args:
        target: the data.
        epochs: passes over the training examples, where the time allows them.
        learning_rate: of Adam.
        batch_size: examples of a step.
    """

    def __init__(
        self, target: Target, *, epochs: int, learning_rate: float, batch_size: int
    ) -> None:
        self.target, self.epochs, self.batch_size = target, epochs, batch_size
        # A copy: neither weights nor what trains may change in the user's backbone.
        backbone = keras.models.clone_model(target.backbone)
        backbone.set_weights(target.backbone.get_weights())
        self.model = FineTune(backbone, target.examples.n_classes)
        self.model.compile(keras.optimizers.Adam(learning_rate))
        self.model.optimizer.build(self.model.trainable_variables)
        self._n_epochs: list[float] = []
        self._variables = [*self.model.weights, *self.model.optimizer.variables]
        self._start = [keras.ops.convert_to_numpy(v) for v in self._variables]

    def __call__(self, rows: np.ndarray, seconds: float | None) -> Trained:
        """A training that ends after its epochs, or at the step that reaches the seconds."""
        for variable, value in zip(self._variables, self._start, strict=True):
            variable.assign(value)
        self.model.head.set_weights(_probe(self.target, rows))
        callbacks = [] if seconds is None else [_StopAfter(seconds)]
        self.model.fit(
            self._batches(rows, shuffled=True), epochs=self.epochs, callbacks=callbacks, verbose=0
        )
        n_steps = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        self._n_epochs.append(n_steps / -(-len(rows) // self.batch_size))
        mean = float(np.mean(self._n_epochs))
        note = f"{mean:.1f} of {self.epochs} epochs in the time; more minutes may help"
        note = note if mean < self.epochs else ""
        n_trained = sum(int(np.prod(v.shape)) for v in self.model.trainable_variables)
        return Trained(self._predict, n_trained, self.model.count_params(), note)

    def _predict(self, rows: np.ndarray) -> np.ndarray:
        return self.model.predict(self._batches(rows, shuffled=False), verbose=0).argmax(axis=1)

    def _batches(self, rows: np.ndarray, *, shuffled: bool) -> tf.data.Dataset:
        dataset = tf.data.Dataset.from_tensor_slices((rows, self.target.y[rows]))
        if shuffled:
            dataset = dataset.shuffle(len(rows), seed=self.target.seed)
        dataset = dataset.batch(self.batch_size)
        return prefetched(dataset.map(lambda rows, y: (self.target.examples.read(rows), y)))


class _StopAfter(keras.callbacks.Callback):
    """Ends a training at the first step after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.end = time.perf_counter() + seconds

    def on_train_batch_end(self, batch, logs=None):
        if time.perf_counter() >= self.end:
            self.model.stop_training = True


def _probe(target: Target, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kernel, bias = linear_probe(
        tf.constant(target.features[rows]),
        tf.constant(target.y[rows]),
        n_classes=target.examples.n_classes,
    )
    return kernel.numpy(), bias.numpy()


def _flat(examples: Examples, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Chunks of row numbers, with their examples `[chunk, numbers]` float32."""
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        x = examples.read(tf.constant(chunk)).numpy().astype(np.float32)
        yield chunk, x.reshape(len(chunk), -1)


def _labels(logits: tf.Tensor) -> np.ndarray:
    return logits.numpy().argmax(axis=1)
