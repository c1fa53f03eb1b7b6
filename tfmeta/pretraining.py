"""Ordinary classification of the training classes, for learners that train no episodes."""

from __future__ import annotations

import argparse
import time
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta import cli
from tfmeta.data import Examples, RandomAffine
from tfmeta.data.sampler import random_bits, random_integers
from tfmeta.optimizers import cosine_adam
from tfmeta.prefetching import prefetched


def labelled_batches(
    examples: Examples,
    *,
    batch_size: int,
    seed: int = 0,
    augment: RandomAffine | None = None,
) -> tf.data.Dataset:
    """Infinite dataset of ordinary batches `(x, y)`, drawn with replacement.

    Batch `i` is a pure function of `(seed, i)`, as episodes are. uint8 pictures are scaled to
    0 ... 1, as a learner does it.

    Args:
        examples: examples of the training classes.
        batch_size: examples of a batch.
        seed: the same seed gives the same batches.
        augment: random distortion of the pictures.

    Returns:
        A dataset of `x [batch_size, ...]` and `y [batch_size]` int32.

    Raises:
        ValueError: for empty batches.

    Example:
        >>> x, y = next(iter(labelled_batches(examples, batch_size=4)))
        >>> x.shape, x.dtype.name, y.shape
        (TensorShape([4, 28, 28, 1]), 'float32', TensorShape([4]))
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: batch_size={batch_size}.")
    labels = tf.constant(examples.y, tf.int32)
    n_examples = len(examples)

    def draw(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = random_integers(random_bits(seed, number[tf.newaxis], batch_size), n_examples)
        x = examples.read(rows)
        if augment is not None:
            x = augment(x, seed=seed, episodes=number[tf.newaxis])
        x = tf.cast(x, tf.float32) / 255.0 if x.dtype == tf.uint8 else x
        return x[0], tf.gather(labels, rows[0])

    return prefetched(tf.data.Dataset.counter().map(draw, num_parallel_calls=tf.data.AUTOTUNE))


@keras.saving.register_keras_serializable("tfmeta")
class CosineHead(keras.Layer):
    """Linear classifier of unit features by unit weights: `logits = scale * cos(x, w_k)`.

    The head of Baseline++ (Chen et al. 2019, "A Closer Look at Few-shot Classification", section
    3.2), whose training draws the features of a class around one direction.

    Args:
        units: number of classes.
        scale: by which the cosines are multiplied.
        **kwargs: arguments of `keras.Layer`.

    Call arguments:
        inputs: `[batch, features]`.

    Returns:
        Logits `[batch, units]`.

    Example:
        >>> float(tf.reduce_max(tf.abs(CosineHead(3, scale=2.0)(tf.ones([4, 5]))))) <= 2.0
        True
    """

    def __init__(self, units: int, scale: float = 10.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.scale = units, scale

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")

    def call(self, inputs):
        kernel = tf.math.l2_normalize(tf.convert_to_tensor(self.kernel), axis=0)
        return self.scale * tf.matmul(tf.math.l2_normalize(inputs, axis=-1), kernel)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "scale": self.scale}


def pretrain_backbone(
    backbone: keras.Model,
    batches: tf.data.Dataset,
    *,
    head: keras.Layer,
    steps: int,
    epochs: int = 1,
    learning_rate: float = 1e-3,
) -> keras.callbacks.History:
    """History of an ordinary classification that trains a backbone in place, by plain `fit`.

    The head is thrown away; Adam's rate falls to zero by a cosine. So begin SimpleShot (Wang et
    al. 2019) with a linear head and Baseline++ (Chen et al. 2019) with a cosine head.

    Args:
        backbone: from examples to features `[batch, ...]`; maps are flattened for the head.
        batches: infinite dataset of `(x, y)`, see `labelled_batches`.
        head: from features to logits, one for each training class.
        steps: batches in all.
        epochs: parts that the history has.
        learning_rate: of Adam, at the start.

    Returns:
        What `fit` returns.

    Example:
        >>> backbone = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
        >>> batches = labelled_batches(examples, batch_size=4)
        >>> history = pretrain_backbone(backbone, batches, head=keras.layers.Dense(6), steps=2)
        >>> len(history.history["loss"])
        1
    """
    inputs = keras.Input(backbone.input_shape[1:])
    model = keras.Sequential([inputs, backbone, keras.layers.Flatten(), head])
    model.compile(
        cosine_adam(learning_rate, steps),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model.fit(batches, epochs=epochs, steps_per_epoch=max(1, steps // epochs))


class Pretrained(NamedTuple):
    """The history of an ordinary classification, and the minutes that it took."""

    history: keras.callbacks.History
    minutes: float


def add_pretraining_options(options: argparse.ArgumentParser) -> None:
    """Adds the options of `pretrain`.

    Args:
        options: what `parser` returned.

    Example:
        >>> add_pretraining_options(cli.parser("A recipe.", recipe="mine.py"))
    """
    add = options.add_argument
    add("--pretrain-steps", type=int, default=0, help="ordinary batches before the episodes")
    add("--batch-size", type=int, default=128, help="of an ordinary batch")


def pretrain(
    backbone: keras.Model, train: Examples, options: argparse.Namespace, *, head: keras.Layer
) -> Pretrained | None:
    """History and minutes of a classification of all training classes, which trains a backbone.

    Args:
        backbone: from an example to features; trained in place.
        train: examples of the training classes.
        options: parsed options, those of `add_pretraining_options` among them.
        head: from features to logits, one for each training class.

    Returns:
        None where no steps are asked for.

    Raises:
        ValueError: when neither these steps nor those on episodes are asked for.

    Example:
        >>> pretrain(backbone, train, options, head=keras.layers.Dense(64))  # doctest: +SKIP
    """
    if not options.pretrain_steps:
        if not options.steps:
            raise ValueError(
                "Something must be trained. Received: --steps 0 and --pretrain-steps 0. Raise one."
            )
        return None
    start = time.perf_counter()
    batches = labelled_batches(
        train,
        batch_size=options.batch_size,
        seed=options.seed,
        augment=cli.augmentation(train, options),
    )
    history = pretrain_backbone(
        backbone,
        batches,
        head=head,
        steps=options.pretrain_steps,
        epochs=min(options.epochs, options.pretrain_steps),
        learning_rate=options.learning_rate,
    )
    return Pretrained(history, (time.perf_counter() - start) / 60)
