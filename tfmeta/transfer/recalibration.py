"""Statistics of batch normalisation, recomputed over a data set."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import tensorflow as tf

from tfmeta.layers import moving_statistics, network_input, normalize_by


def recalibrate(model: keras.Model, batches: Any, *, steps: int | None = None) -> int:
    """Sets the moving statistics of batch normalisation to their mean over batches.

    What weights that were averaged (Izmailov et al. 2018, "Averaging Weights Leads to Wider
    Optima and Better Generalization", section 3.2), or moved to another domain, need before they
    predict.

    Args:
        model: a built model with exact normalisation layers (`tfmeta.layers.use_exact_layers`).
        batches: batches of inputs, or of `(inputs, ...)`, all of about one size.
        steps: how many batches are used; None for all.

    Returns:
        The number of batches; 0 where the model has no moving statistics.

    Raises:
        ValueError: where there is no batch.

    Example:
        >>> layer = tfmeta.layers.BatchNormalization()
        >>> model = keras.Sequential([keras.Input((1,)), layer])
        >>> recalibrate(model, [np.array([[1.0], [3.0]]), np.array([[2.0], [4.0]])])
        2
        >>> float(layer.moving_mean[0]), float(layer.moving_variance[0])
        (2.5, 1.0)
    """
    variables = moving_statistics(model)
    if not variables:
        return 0

    @tf.function(reduce_retracing=True)
    def statistics(x: tf.Tensor) -> list[tf.Tensor]:
        with normalize_by("batch"), tf.control_dependencies([_as_tensor(model(x))]):
            return [tf.identity(v.value) for v in variables]

    before = [keras.ops.convert_to_numpy(v) for v in variables]
    sums, count = [tf.zeros_like(v) for v in before], 0
    try:
        for batch in itertools.islice(batches, steps):
            x = batch[0] if isinstance(batch, tuple) else batch
            found = statistics(network_input(model, x))
            sums, count = [a + b for a, b in zip(sums, found, strict=True)], count + 1
    finally:
        values = [total / count for total in sums] if count else before
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    if not count:
        raise ValueError("`batches` must have at least one batch. Received: none.")
    return count


def _as_tensor(outputs: Any) -> tf.Tensor:
    return tf.nest.flatten(outputs)[0]
