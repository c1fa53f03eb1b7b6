"""Reading a stream with a core: a recurrent cell, or a causal network."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfmeta.typing import State


def is_cell(core: keras.Layer) -> bool:
    """Whether a core is a recurrent cell, and not a causal network over a whole stream."""
    return hasattr(core, "state_size")


def read_stream(
    core: keras.Layer, stream: tf.Tensor, state: State = None
) -> tuple[tf.Tensor, State]:
    """What a core says after each step of a stream, and its state at the end.

    A recurrent cell reads step after step; what it can compute of all steps before (`project`) is
    one operation. A causal network has no state but the stream itself.

    Args:
        core: a built Keras RNN cell, or a causal layer from `[batch, steps, features]` to
            `[batch, steps, outputs]`.
        stream: `[batch, steps, features]`.
        state: after what was read before; None for the beginning.

    Returns:
        Outputs `[batch, steps, outputs]`, and the state, each of whose tensors has a leading
        batch axis.

    Example:
        >>> cell = keras.layers.LSTMCell(3)
        >>> cell.build((None, 2))
        >>> outputs, state = read_stream(cell, tf.ones([4, 7, 2]))
        >>> outputs.shape, [tensor.shape for tensor in state]
        (TensorShape([4, 7, 3]), [TensorShape([4, 3]), TensorShape([4, 3])])
    """
    if is_cell(core):
        outputs, state, _ = read_with_cell(core, stream, state)
        return outputs, state
    n_steps = tf.shape(stream)[1]
    stream = stream if state is None else tf.concat([*state, stream], axis=1)
    return core(stream)[:, -n_steps:], [stream]


def read_with_cell(
    cell: keras.Layer, stream: tf.Tensor, state: State = None, *, traced: bool = False
) -> tuple[tf.Tensor, list[tf.Tensor], Any]:
    """What a cell says after each step of a stream, its state at the end, and its traces.

    The loop is one operation of the graph, the same for every length.

    Args:
        cell: a built Keras RNN cell.
        stream: `[batch, steps, features]`.
        state: after what was read before; None for the beginning.
        traced: whether the traces of the steps are kept, for plots.

    Returns:
        Outputs `[batch, steps, outputs]`; the state; and, if traced, the nest of tensors that
        `cell.step` gives as its third part, each `[batch, steps, ...]`, else `()`.
    """
    step, inputs = _step_and_inputs(cell, tf.transpose(stream, [1, 0, 2]))
    if state is None:
        state = cell.get_initial_state(batch_size=tf.shape(stream)[0])
    state = list(state) if isinstance(state, (list, tuple)) else [state]
    n_steps = tf.shape(inputs)[0]

    def kept(output: tf.Tensor, trace: Any) -> list[tf.Tensor]:
        return [output, *(tf.nest.flatten(trace) if traced else [])]

    # What a step gives is known only after one: this one is not computed.
    first, _, trace = step(tf.zeros_like(inputs[0]), state)
    arrays = [
        tf.TensorArray(x.dtype, n_steps, element_shape=[None, *x.shape[1:]])
        for x in kept(first, trace)
    ]
    shapes = [[None, *x.shape[1:]] for x in state]
    state = [tf.ensure_shape(x, shape) for x, shape in zip(state, shapes, strict=True)]

    def body(t: tf.Tensor, arrays: list, state: list) -> tuple:
        output, state, trace = step(inputs[t], state)
        pairs = zip(arrays, kept(output, trace), strict=True)
        return t + 1, [array.write(t, x) for array, x in pairs], list(state)

    _, arrays, state = tf.while_loop(
        lambda t, *_: t < n_steps,
        body,
        (tf.constant(0), arrays, state),
        shape_invariants=(
            tf.TensorShape([]),
            [tf.TensorShape(None)] * len(arrays),
            [tf.TensorShape(shape) for shape in shapes],
        ),
        maximum_iterations=n_steps,
    )
    outputs, *traces = (_by_stream(array.stack()) for array in arrays)
    return outputs, state, tf.nest.pack_sequence_as(trace, traces) if traced else ()


def labels_one_late(y: tf.Tensor, n_way: int, dtype: Any) -> tf.Tensor:
    """The labels as a learner gets them: one-hot, each one step after its example.

    Args:
        y: `[..., steps]` class numbers.
        n_way: width of the one-hot labels.
        dtype: of the result.

    Returns:
        `[..., steps, n_way]`, of which the first step is zero.

    Example:
        >>> labels_one_late(tf.constant([1, 0]), 2, "float32").numpy().tolist()
        [[0.0, 0.0], [0.0, 1.0]]
    """
    labels = tf.one_hot(y, n_way, dtype=dtype)
    return tf.concat([tf.zeros_like(labels[..., :1, :]), labels[..., :-1, :]], axis=-2)


def _step_and_inputs(cell: keras.Layer, stream: tf.Tensor) -> tuple[Any, tf.Tensor]:
    """A function of one step, `(input, state) -> (output, state, trace)`, and all inputs."""
    if hasattr(cell, "project"):
        return cell.step, cell.project(stream)

    def step(inputs: tf.Tensor, state: list) -> tuple:
        output, state = cell(inputs, state)
        return output, state if isinstance(state, (list, tuple)) else [state], ()

    return step, stream


def _by_stream(x: tf.Tensor) -> tf.Tensor:
    """`[batch, steps, ...]` from `[steps, batch, ...]`."""
    return tf.transpose(x, [1, 0, *range(2, len(x.shape))])
