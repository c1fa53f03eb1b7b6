"""Normalisation layers whose second derivatives are exact.

They are the stock Keras layers with other moments (`tfmeta.functional.exact_moments`): same
arguments, same weights, same outputs. They add no attribute, so that a stock layer becomes an
exact one by changing its class, with the user's object, its weights and its sharing kept.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from tfmeta.functional import batch_norm, exact_moments, fused_batch_norm, has_batch_norm_kernel

SOURCES = ("batch", "moving", "update")


class _Source(threading.local):
    value: str | None = None


_SOURCE = _Source()


@contextlib.contextmanager
def normalize_by(source: str) -> Iterator[None]:
    """Scope that tells batch normalisation which statistics to use, whatever `training` is.

    An episode needs more than the two ways of `training`: a query may be normalised by its
    support while dropout is off, or by its own batch at test time (transductive).

    Args:
        source: `"batch"`: by the batch, and the moving statistics become the batch's own (momentum
            0), with gradients; `"moving"`: by the moving statistics; `"update"`: by the batch, and
            the moving statistics move by the layer's momentum.

    Raises:
        ValueError: for another source.

    Example:
        >>> layer = BatchNormalization()
        >>> with normalize_by("batch"):
        ...     float(layer(tf.constant([[1.0], [3.0]]))[1, 0]) > 0.99
        True
    """
    if source not in SOURCES:
        raise ValueError(f"`source` must be one of {SOURCES}. Received: source={source!r}")
    before, _SOURCE.value = _SOURCE.value, source
    try:
        yield
    finally:
        _SOURCE.value = before


@keras.saving.register_keras_serializable("tfmeta")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` that is exact at second order.

    `(x - mean) / sqrt(variance + epsilon) * gamma + beta`, variance = E[(x - mean)^2] (Ioffe and
    Szegedy 2015). Inside `normalize_by` the scope, not `training`, says which statistics are
    used; a frozen layer (`trainable=False`) keeps its moving statistics always.
    """

    def call(self, inputs, training=None, mask=None):
        source = _SOURCE.value
        if source is None:
            return super().call(inputs, training=training, mask=mask)
        if source == "moving" or not self.trainable:
            return super().call(inputs, training=False, mask=mask)
        is_plain = mask is None and self.axis in (-1, inputs.shape.rank - 1)
        if source == "batch" and is_plain:
            return self._call_exact(inputs)
        if source == "update" and is_plain and has_batch_norm_kernel(inputs, self.epsilon):
            return self._call_kernel(inputs)
        with self._momentum_zero() if source == "batch" else contextlib.nullcontext():
            return super().call(inputs, training=True, mask=mask)

    def _call_exact(self, inputs):
        # As in the stock layer: half precision is too coarse for moments.
        x = tf.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        mean, variance = exact_moments(x, list(range(x.shape.rank - 1)))
        self.moving_mean.assign(mean)
        self.moving_variance.assign(variance)
        gamma, beta = self._gamma_and_beta(x)
        y = batch_norm(x, gamma, beta, self.epsilon)
        return tf.cast(y, self.compute_dtype)

    def _call_kernel(self, x):
        # Not for "batch", whose moments have gradients: on the few pictures of a support set the
        # kernel is no faster, and TensorFlow's graph optimizer breaks inner loops of it (a cycle).
        gamma, beta = self._gamma_and_beta(x)
        y, mean, variance = fused_batch_norm(x, gamma, beta, self.epsilon)
        for moving, moment in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + moment * (1.0 - self.momentum))
        return y

    def _gamma_and_beta(self, x):
        channels = [x.shape[-1]]
        gamma = tf.cast(self.gamma, x.dtype) if self.scale else tf.ones(channels, x.dtype)
        beta = tf.cast(self.beta, x.dtype) if self.center else tf.zeros(channels, x.dtype)
        return gamma, beta

    @contextlib.contextmanager
    def _momentum_zero(self) -> Iterator[None]:
        # Only around the call: a momentum left at zero would be saved and would ruin a later fit.
        momentum = self.momentum  # type: ignore[has-type]
        self.momentum = 0.0
        try:
            yield
        finally:
            self.momentum = momentum

    def _moments(self, inputs, mask):
        if mask is not None:
            return super()._moments(inputs, mask)
        return exact_moments(inputs, self._reduction_axes)


@keras.saving.register_keras_serializable("tfmeta")
class LayerNormalization(keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` that is exact at second order (Ba et al. 2016)."""

    def call(self, inputs):
        if self.rms_scaling:
            return super().call(inputs)
        axes = [self.axis] if isinstance(self.axis, int) else list(self.axis)
        axes = [axis % len(inputs.shape) for axis in axes]
        # As in the stock layer: half precision is too coarse for moments.
        x = tf.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        mean, variance = exact_moments(x, axes, keepdims=True)
        x = (x - mean) * tf.math.rsqrt(variance + self.epsilon)
        shape = [size if axis in axes else 1 for axis, size in enumerate(inputs.shape)]
        return tf.cast(_scale_and_shift(x, self.gamma, self.beta, shape), self.compute_dtype)


@keras.saving.register_keras_serializable("tfmeta")
class GroupNormalization(keras.layers.GroupNormalization):
    """`keras.layers.GroupNormalization` that is exact at second order (Wu and He 2018)."""

    def call(self, inputs):
        axis = self.axis % len(inputs.shape)
        shape = tf.shape(inputs)
        x = tf.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        sizes = [shape[i] if size is None else size for i, size in enumerate(inputs.shape)]
        grouped = [*sizes[:axis], self.groups, sizes[axis] // self.groups, *sizes[axis + 1 :]]
        x = tf.reshape(x, grouped)
        axes = [i for i in range(1, len(grouped)) if i != axis]
        mean, variance = exact_moments(x, axes, keepdims=True)
        x = tf.reshape((x - mean) * tf.math.rsqrt(variance + self.epsilon), sizes)
        weights_shape = [size if i == axis else 1 for i, size in enumerate(inputs.shape)]
        return tf.cast(
            _scale_and_shift(x, self.gamma, self.beta, weights_shape), self.compute_dtype
        )


def _scale_and_shift(x: tf.Tensor, gamma: Any, beta: Any, shape: list[int]) -> tf.Tensor:
    if gamma is not None:
        x = x * tf.cast(tf.reshape(gamma, shape), x.dtype)
    if beta is not None:
        x = x + tf.cast(tf.reshape(beta, shape), x.dtype)
    return x
