"""Rules of the task axis for layers that slide a window: convolution and max pooling.

A window is taken apart into strided slices of the input, axis by axis. Slices have exact
derivatives of every order and compile under XLA: the gradient of `tf.image.extract_patches` does
not compile, and the second derivative of max pooling is wrong there.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
import tensorflow as tf

from tfmeta.layers.task_rules import TaskPass, TaskRule, bias_of, sizes


def window_slices(
    x: tf.Tensor,
    axis: int,
    window: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: str = "valid",
    fill: Any = 0,
) -> list[tf.Tensor]:
    """What a window that slides along one axis sees, a tensor for each position in the window.

    Args:
        x: `[batch, *space, channels]`.
        axis: the axis along which the window slides.
        window: the number of its positions.
        stride: step of the window.
        dilation: distance of its positions.
        padding: `"valid"`, `"same"` or `"causal"` (all of it in front).
        fill: the value of the padding.

    Returns:
        `window` tensors of the shape of `x` but for `axis`.

    Raises:
        ValueError: for an axis whose size is not known.

    Example:
        >>> first, second = window_slices(tf.constant([[[1], [2], [3]]]), 1, 2)
        >>> first.numpy().ravel(), second.numpy().ravel()
        (array([1, 2], dtype=int32), array([2, 3], dtype=int32))
    """
    if x.shape[axis] is None:
        raise ValueError(
            "Convolution and pooling with a task axis need inputs of a known size. Received: "
            f"an input of shape {x.shape}. Give inputs of a fixed size, or map over the tasks."
        )
    span = (window - 1) * dilation + 1
    front, back = _pads(x.shape[axis], span, stride, padding)
    if front or back:
        pads = [(front, back) if i == axis else (0, 0) for i in range(x.shape.rank)]
        x = tf.pad(x, pads, constant_values=fill)
    n_steps = (x.shape[axis] - span) // stride
    before = (slice(None),) * axis
    starts = [position * dilation for position in range(window)]
    return [x[(*before, slice(start, start + n_steps * stride + 1, stride))] for start in starts]


def _pads(size: int, span: int, stride: int, padding: str) -> tuple[int, int]:
    if padding == "causal":
        return span - 1, 0
    if padding == "valid":
        return 0, 0
    n_steps = -(-size // stride) - 1
    total = max(n_steps * stride + span - size, 0)
    return total // 2, total - total // 2


def _patches(layer: Any, x: tf.Tensor) -> tf.Tensor:
    """`[batch, *positions, window * channels]`, the window with its last axis first."""
    for i, size in enumerate(layer.kernel_size):
        slices = window_slices(
            x,
            i + 1,
            size,
            stride=layer.strides[i],
            dilation=layer.dilation_rate[i],
            padding=layer.padding,
        )
        x = tf.concat(slices, axis=-1)
    return x


def _kernel(layer: Any, task: TaskPass) -> tf.Tensor:
    """`[tasks or 1, window, channels, filters]`, the window in the order of the patches."""
    kernel = task.value(layer.kernel, layer.compute_dtype)
    rank = len(layer.kernel_size)
    kernel = tf.transpose(kernel, [0, *range(rank, 0, -1), rank + 1, rank + 2])
    window = math.prod(layer.kernel_size)
    return tf.reshape(kernel, [sizes(kernel)[0], window, *kernel.shape[-2:]])


def _convolution(layer: keras.layers.Conv2D, x: tf.Tensor, task: TaskPass) -> tf.Tensor:
    patches, kernel = _patches(layer, x), _kernel(layer, task)
    kernel = tf.reshape(kernel, [sizes(kernel)[0], patches.shape[-1], layer.filters])
    return layer.activation(task.linear(patches, kernel, bias_of(layer, task)))


def _depthwise_convolution(
    layer: keras.layers.DepthwiseConv2D, x: tf.Tensor, task: TaskPass
) -> tf.Tensor:
    patches, kernel = _patches(layer, x), _kernel(layer, task)
    (_, window, channels, depth), positions = kernel.shape, sizes(patches)[:-1]
    flat = tf.reshape(patches, [task.n_tasks, -1, window, channels, 1])
    y = tf.add_n([flat[:, :, i] * kernel[:, None, i] for i in range(window)])
    y = tf.reshape(y, [task.n_tasks, -1, channels * depth])
    bias = bias_of(layer, task)
    if bias is not None:
        y = y + bias[:, None]
    return layer.activation(tf.reshape(y, [*positions, channels * depth]))


def _max_pooling(layer: keras.layers.MaxPooling2D, x: tf.Tensor, task: TaskPass) -> tf.Tensor:
    # The last axis first: of equal values the first in the window gets the gradient, as in the
    # stock layer.
    for i in reversed(range(len(layer.pool_size))):
        slices = window_slices(
            x,
            i + 1,
            layer.pool_size[i],
            stride=layer.strides[i],
            padding=layer.padding,
            fill=x.dtype.min,
        )
        x = functools.reduce(tf.maximum, slices)
    return x


def _is_channels_last(layer: Any) -> bool:
    return layer.data_format == "channels_last"


_CONVOLUTION = TaskRule(
    _convolution,
    lambda layer: _is_channels_last(layer) and layer.groups == 1 and not layer.lora_enabled,
)
_DEPTHWISE = TaskRule(_depthwise_convolution, _is_channels_last)
_MAX_POOLING = TaskRule(_max_pooling, _is_channels_last)

RULES: dict[type, TaskRule] = {
    keras.layers.Conv1D: _CONVOLUTION,
    keras.layers.Conv2D: _CONVOLUTION,
    keras.layers.Conv3D: _CONVOLUTION,
    keras.layers.DepthwiseConv1D: _DEPTHWISE,
    keras.layers.DepthwiseConv2D: _DEPTHWISE,
    keras.layers.MaxPooling1D: _MAX_POOLING,
    keras.layers.MaxPooling2D: _MAX_POOLING,
    keras.layers.MaxPooling3D: _MAX_POOLING,
}
