"""Ordinary classification of the training classes, for learners that train no episodes."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfmeta.data import Examples, RandomAffine
from tfmeta.data.sampler import random_bits, random_integers

_PREFETCHED = 4


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

    dataset = tf.data.Dataset.counter().map(draw, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(_PREFETCHED)


def pretrain(
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
        backbone: from examples to features `[batch, features]`.
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
        >>> history = pretrain(backbone, batches, head=keras.layers.Dense(6), steps=2)
        >>> len(history.history["loss"])
        1
    """
    model = keras.Sequential([keras.Input(backbone.input_shape[1:]), backbone, head])
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model.fit(batches, epochs=epochs, steps_per_epoch=max(1, steps // epochs))
