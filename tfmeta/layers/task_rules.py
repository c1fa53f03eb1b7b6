"""How each kind of layer carries the task axis: every task with weights of its own.

A rule stands in for `layer.call`. It takes and returns what the layer does, with the examples of
all tasks in one batch, `[tasks * n, ...]`, task after task.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.functional import exact_moments
from tfmeta.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
)


@dataclasses.dataclass(frozen=True)
class TaskPass:
    """What the rules know of a pass over several tasks.

    Args:
        n_tasks: the number of tasks, an int where it is known.
        n: examples in each task, an int where it is known.
        values: `[tasks, *shape]` of the variables that differ between tasks, by `id`.
        moving: `[tasks, channels]` of the moving statistics, by `id`; the pass changes them.
        source: see `tfmeta.layers.normalize_by`; None goes by `training`.
        training: whether dropout and the like are on.

    Example:
        >>> task = TaskPass(n_tasks=2, n=3, values={}, moving={}, source=None, training=False)
        >>> task.split(tf.zeros([6, 5])).shape
        TensorShape([2, 3, 5])
    """

    n_tasks: Any
    n: Any
    values: dict[int, tf.Tensor]
    moving: dict[int, tf.Tensor]
    source: str | None
    training: bool

    def has_values(self, layer: keras.Layer) -> bool:
        """Whether a weight of the layer differs between tasks."""
        return any(id(variable) in self.values for variable in layer.weights)

    def value(self, variable: keras.Variable, dtype: Any) -> tf.Tensor:
        """`[tasks, *shape]`, or `[1, *shape]` for a variable that all tasks share."""
        value = self.values.get(id(variable))
        if value is None:
            value = tf.convert_to_tensor(variable.value)[None]
        return tf.cast(value, dtype)

    def merge(self, x: tf.Tensor) -> tf.Tensor:
        """`[tasks, n, ...]` as `[tasks * n, ...]`."""
        return tf.reshape(x, [self.n_tasks * self.n, *sizes(x)[2:]])

    def split(self, x: tf.Tensor) -> tf.Tensor:
        """`[tasks * n, ...]` as `[tasks, n, ...]`."""
        return tf.reshape(x, [self.n_tasks, self.n, *sizes(x)[1:]])

    def linear(self, x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None = None) -> tf.Tensor:
        """`x W + b` over the last axis, one matrix product for each task in a single kernel.

        Args:
            x: `[tasks * n, ..., d]`.
            kernel: `[tasks or 1, d, units]`.
            bias: `[tasks or 1, units]`.

        Returns:
            `[tasks * n, ..., units]`.
        """
        shape = sizes(x)
        y = tf.matmul(tf.reshape(x, [self.n_tasks, -1, shape[-1]]), kernel)
        if bias is not None:
            y = y + bias[:, None]
        return tf.reshape(y, [*shape[:-1], kernel.shape[-1]])


class TaskRule(NamedTuple):
    """A rule, and whether it holds for a layer with its options."""

    call: Callable[[Any, tf.Tensor, TaskPass], tf.Tensor]
    holds: Callable[[Any], bool]


def sizes(x: tf.Tensor) -> list[Any]:
    """The shape of `x`: ints where they are known, scalar tensors elsewhere.

    Args:
        x: a tensor of known rank.

    Returns:
        A list that `tf.reshape` takes.

    Example:
        >>> sizes(tf.zeros([2, 3]))
        [2, 3]
    """
    if x.shape.is_fully_defined():
        return list(x.shape)
    dynamic = tf.shape(x)
    return [dynamic[i] if size is None else size for i, size in enumerate(x.shape)]


def bias_of(layer: keras.Layer, task: TaskPass) -> tf.Tensor | None:
    """The bias `[tasks or 1, ...]` of a layer in its compute type, None without one.

    Args:
        layer: a layer with an attribute `bias`.
        task: the pass.

    Returns:
        A tensor or None.

    Example:
        >>> layer = keras.layers.Dense(2)
        >>> layer.build((None, 3))
        >>> task = TaskPass(n_tasks=2, n=3, values={}, moving={}, source=None, training=False)
        >>> bias_of(layer, task).shape
        TensorShape([1, 2])
    """
    return None if layer.bias is None else task.value(layer.bias, layer.compute_dtype)


# ----- dense, embedding, PReLU ------------------------------------------------------------------


def _dense(layer: keras.layers.Dense, x: tf.Tensor, task: TaskPass) -> tf.Tensor:
    kernel = task.value(layer.kernel, layer.compute_dtype)
    return layer.activation(task.linear(x, kernel, bias_of(layer, task)))


def _einsum_dense(layer: keras.layers.EinsumDense, x: tf.Tensor, task: TaskPass) -> tf.Tensor:
    kernel = task.value(layer.kernel, layer.compute_dtype)
    operands, output = layer.equation.replace(" ", "").split("->")
    inputs, weights = operands.split(",")
    (t, *_) = sorted(set("abcdefghijklmnopqrstuvwxyz") - set(layer.equation))
    # A letter may not broadcast a shared kernel, so that one has no task axis.
    if kernel.shape[0] == 1:
        kernel = kernel[0]
    else:
        weights = t + weights
    y = tf.einsum(f"{t}{inputs},{weights}->{t}{output}", task.split(x), kernel)
    bias = bias_of(layer, task)
    if bias is not None:
        y = y + _aligned(bias, y.shape.rank)
    return layer.activation(task.merge(y))


def _embedding(layer: keras.layers.Embedding, x: tf.Tensor, task: TaskPass) -> tf.Tensor:
    table = task.value(layer.embeddings, layer.compute_dtype)
    rows = task.split(tf.cast(x, "int32"))
    return task.merge(tf.gather(table, rows, axis=1, batch_dims=1))


def _prelu(layer: keras.layers.PReLU, x: tf.Tensor, task: TaskPass) -> tf.Tensor:
    alpha = task.value(layer.alpha, layer.compute_dtype)[:, None]
    x = task.split(x)
    return task.merge(tf.nn.relu(x) - alpha * tf.nn.relu(-x))


def _aligned(value: tf.Tensor, rank: int) -> tf.Tensor:
    """`[tasks, *shape]` as `[tasks, 1, ..., 1, *shape]` of a given rank."""
    first, *rest = sizes(value)
    return tf.reshape(value, [first, *[1] * (rank - 1 - len(rest)), *rest])


# ----- normalisation ----------------------------------------------------------------------------


def _batch_normalization(layer: BatchNormalization, x: tf.Tensor, task: TaskPass) -> tf.Tensor:
    axis = layer.axis % x.shape.rank
    x = task.split(_at_least_float32(x))
    mean, variance = _moments(layer, x, axis + 1, task)
    scale = tf.math.rsqrt(variance + layer.epsilon)
    if layer.gamma is not None:
        scale = scale * task.value(layer.gamma, x.dtype)
    y = (x - _along(mean, axis, x)) * _along(scale, axis, x)
    if layer.beta is not None:
        y = y + _along(task.value(layer.beta, x.dtype), axis, x)
    return tf.cast(task.merge(y), layer.compute_dtype)


def _moments(
    layer: BatchNormalization, x: tf.Tensor, channels: int, task: TaskPass
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance `[tasks or 1, channels]` by which each task is normalised."""
    variables = (layer.moving_mean, layer.moving_variance)
    if not layer.trainable:
        mean, variance = (task.value(v, x.dtype) for v in variables)
        return mean, variance
    moving = [tf.cast(task.moving[id(v)], x.dtype) for v in variables]
    source = task.source or ("update" if task.training else "moving")
    if source == "moving":
        return moving[0], moving[1]
    moments = exact_moments(x, [i for i in range(1, x.shape.rank) if i != channels])
    for variable, before, moment in zip(variables, moving, moments, strict=True):
        if source == "update":
            after = before * layer.momentum + moment * (1.0 - layer.momentum)
        else:
            after = moment
        task.moving[id(variable)] = tf.cast(after, variable.dtype)
    return moments


def _layer_normalization(layer: LayerNormalization, x: tf.Tensor, task: TaskPass) -> tf.Tensor:
    rank = x.shape.rank
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    axes = [axis % rank for axis in axes]
    y = _standardized(_at_least_float32(x), axes, layer.epsilon)
    shape = [x.shape[i] if i in axes else 1 for i in range(1, rank)]
    return _scale_and_shift(layer, y, shape, task)


def _group_normalization(layer: GroupNormalization, x: tf.Tensor, task: TaskPass) -> tf.Tensor:
    axis, shape = layer.axis % x.shape.rank, sizes(x)
    groups = [layer.groups, shape[axis] // layer.groups]
    grouped = tf.reshape(_at_least_float32(x), [*shape[:axis], *groups, *shape[axis + 1 :]])
    axes = [i for i in range(1, grouped.shape.rank) if i != axis]
    y = tf.reshape(_standardized(grouped, axes, layer.epsilon), shape)
    return _scale_and_shift(
        layer, y, [x.shape[i] if i == axis else 1 for i in range(1, x.shape.rank)], task
    )


def _standardized(x: tf.Tensor, axes: Sequence[int], epsilon: float) -> tf.Tensor:
    mean, variance = exact_moments(x, axes, keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + epsilon)


def _scale_and_shift(
    layer: keras.Layer, y: tf.Tensor, shape: Sequence[int], task: TaskPass
) -> tf.Tensor:
    """`y * gamma + beta` with gamma and beta of `shape` for each task."""
    y = task.split(y)
    if layer.gamma is not None:
        gamma = task.value(layer.gamma, y.dtype)
        y = y * tf.reshape(gamma, [sizes(gamma)[0], 1, *shape])
    if layer.beta is not None:
        beta = task.value(layer.beta, y.dtype)
        y = y + tf.reshape(beta, [sizes(beta)[0], 1, *shape])
    return tf.cast(task.merge(y), layer.compute_dtype)


def _along(value: tf.Tensor, axis: int, x: tf.Tensor) -> tf.Tensor:
    """`[tasks, channels]` for the axis of the examples `x[t, i]` that the channels are on."""
    first, channels = sizes(value)
    return tf.reshape(value, [first, *[1] * axis, channels, *[1] * (x.shape.rank - axis - 2)])


def _at_least_float32(x: tf.Tensor) -> tf.Tensor:
    # As in the stock layers: half precision is too coarse for moments.
    return tf.cast(x, keras.backend.result_type(x.dtype, "float32"))


def _is_plain(layer: Any) -> bool:
    return not layer.lora_enabled and layer.quantization_mode is None


RULES: dict[type, TaskRule] = {
    keras.layers.Dense: TaskRule(_dense, _is_plain),
    keras.layers.EinsumDense: TaskRule(_einsum_dense, _is_plain),
    keras.layers.Embedding: TaskRule(
        _embedding, lambda layer: _is_plain(layer) and not layer.mask_zero
    ),
    keras.layers.PReLU: TaskRule(_prelu, lambda layer: True),
    BatchNormalization: TaskRule(
        _batch_normalization, lambda layer: not layer.synchronized and not layer.renorm
    ),
    LayerNormalization: TaskRule(_layer_normalization, lambda layer: not layer.rms_scaling),
    GroupNormalization: TaskRule(_group_normalization, lambda layer: True),
}
