"""Rules of the task axis for layers that slide a window: convolution and max pooling.

A window is taken apart into its positions, each a strided slice of the input: slices have exact
derivatives of every order and compile under XLA, which patches of `tf.image.extract_patches` have
not and max pooling does not.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmeta.layers.task_rules import TaskPass, TaskRule, bias_of, sizes


def window_slices(
    x: tf.Tensor,
    window: Sequence[int],
    *,
    strides: Sequence[int],
    dilation: Sequence[int] | None = None,
    padding: str = "valid",
    fill: Any = 0,
) -> list[tf.Tensor]:
    """What a sliding window sees, one tensor for each position in the window.

    Args:
        x: `[batch, *space, channels]`, with as many axes of space as the window has.
        window: size of the window in each axis.
        strides: step of the window in each axis.
        dilation: distance of its positions in each axis; None for 1.
        padding: `"valid"`, `"same"` or `"causal"` (all of it in front).
        fill: the value of the padding.

    Returns:
        Tensors `[batch, *positions, channels]`, in row-major order of the window.

    Raises:
        ValueError: for a size of space that is not known.

    Example:
        >>> first, second = window_slices(tf.constant([[[1], [2], [3]]]), [2], strides=[1])
        >>> first.numpy().ravel(), second.numpy().ravel()
        (array([1, 2], dtype=int32), array([2, 3], dtype=int32))
    """
    dilation = dilation or [1] * len(window)
    spans = [(size - 1) * step + 1 for size, step in zip(window, dilation, strict=True)]
    x = _padded(x, spans, strides, padding, fill)
    counts = [
        (size - span) // stride + 1
        for size, span, stride in zip(x.shape[1:-1], spans, strides, strict=True)
    ]
    slices = []
    for position in itertools.product(*map(range, window)):
        starts = [i * step for i, step in zip(position, dilation, strict=True)]
        cut = [
            slice(start, start + (count - 1) * stride + 1, stride)
            for start, count, stride in zip(starts, counts, strides, strict=True)
        ]
        slices.append(x[(slice(None), *cut)])
    return slices


def _padded(
    x: tf.Tensor, spans: Sequence[int], strides: Sequence[int], padding: str, fill: Any
) -> tf.Tensor:
    space = x.shape[1:-1]
    if not space.is_fully_defined():
        raise ValueError(
            "Convolution and pooling with a task axis need inputs of a known size. Received: "
            f"an input of shape {x.shape}. Give inputs of a fixed size, or map over the tasks."
        )
    if padding == "causal":
        pads = [(span - 1, 0) for span in spans]
    elif padding == "same":
        totals = [
            max((-(-size // stride) - 1) * stride + span - size, 0)
            for size, stride, span in zip(space, strides, spans, strict=True)
        ]
        pads = [(total // 2, total - total // 2) for total in totals]
    else:
        pads = []
    if not any(map(any, pads)):
        return x
    return tf.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill)


def _slices(layer: keras.Layer, x: tf.Tensor) -> list[tf.Tensor]:
    return window_slices(
        x,
        layer.kernel_size,
        strides=layer.strides,
        dilation=layer.dilation_rate,
        padding=layer.padding,
    )


def _convolution(layer: keras.layers.Conv2D, x: tf.Tensor, task: TaskPass) -> tf.Tensor:
    kernel = task.value(layer.kernel, layer.compute_dtype)
    patches = tf.concat(_slices(layer, x), axis=-1)
    kernel = tf.reshape(kernel, [sizes(kernel)[0], patches.shape[-1], layer.filters])
    return layer.activation(task.linear(patches, kernel, bias_of(layer, task)))


def _depthwise_convolution(
    layer: keras.layers.DepthwiseConv2D, x: tf.Tensor, task: TaskPass
) -> tf.Tensor:
    channels, depth = x.shape[-1], layer.depth_multiplier
    slices = _slices(layer, x)
    kernel = task.value(layer.kernel, layer.compute_dtype)
    kernel = tf.reshape(kernel, [sizes(kernel)[0], len(slices), 1, channels, depth])
    shape = [task.n_tasks, -1, channels, 1]
    y = tf.add_n([tf.reshape(s, shape) * kernel[:, i] for i, s in enumerate(slices)])
    y = tf.reshape(y, [task.n_tasks, -1, channels * depth])
    bias = bias_of(layer, task)
    if bias is not None:
        y = y + bias[:, None]
    return layer.activation(tf.reshape(y, [*sizes(slices[0])[:-1], channels * depth]))


def _max_pooling(layer: keras.layers.MaxPooling2D, x: tf.Tensor, task: TaskPass) -> tf.Tensor:
    slices = window_slices(
        x, layer.pool_size, strides=layer.strides, padding=layer.padding, fill=x.dtype.min
    )
    # Of equal values the first is taken, here and in the kernel: the gradient is the same.
    return functools.reduce(tf.maximum, slices)


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
