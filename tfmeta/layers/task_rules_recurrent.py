"""Rules of the task axis for recurrent layers: the cells of all tasks step together.

The inputs of all time steps are projected by one matrix product; only what depends on the state is
left in the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfmeta.layers.task_rules import TaskPass, TaskRule, bias_of, sizes

States = tuple[tf.Tensor, ...]
# From the projected input `[tasks, n, gates * units]` and the states `[tasks, n, units]` to the
# next states, of which the first is the output.
Step = Callable[[tf.Tensor, States], States]


def _recurrent(layer: keras.layers.RNN, x: tf.Tensor, task: TaskPass) -> Any:
    cell = layer.cell
    kernel = task.value(cell.kernel, cell.compute_dtype)
    input_bias, step = _STEPS[type(cell)](cell, task)
    z = task.split(task.linear(x, kernel, input_bias))
    z = tf.transpose(z, [2, 0, 1, 3])
    z = z[::-1] if layer.go_backwards else z
    path = _states(layer, step, z)
    last = [states[-1] for states in path]
    output = tf.transpose(path[0], [1, 2, 0, 3]) if layer.return_sequences else last[0]
    tensors = [output, *last] if layer.return_state else [output]
    merged = [tf.cast(task.merge(tensor), layer.compute_dtype) for tensor in tensors]
    return merged if layer.return_state else merged[0]


def _states(layer: keras.layers.RNN, step: Step, z: tf.Tensor) -> States:
    """The states after all time steps, `[time, tasks, n, units]` each."""
    _, n_tasks, n, _ = sizes(z)
    zeros = tf.zeros([n_tasks, n, layer.cell.units], z.dtype)
    states: States = (zeros,) * len(layer.state_size)
    if not layer.unroll:
        return tf.scan(lambda states, z: step(z, states), z, initializer=states)
    path = []
    for z_now in tf.unstack(z):
        states = step(z_now, states)
        path.append(states)
    return tuple(tf.stack(states) for states in zip(*path, strict=True))


def _simple_step(cell: keras.layers.SimpleRNNCell, task: TaskPass) -> tuple[tf.Tensor | None, Step]:
    recurrent = task.value(cell.recurrent_kernel, cell.compute_dtype)

    def step(z: tf.Tensor, states: States) -> States:
        return (cell.activation(z + tf.matmul(states[0], recurrent)),)

    return bias_of(cell, task), step


def _lstm_step(cell: keras.layers.LSTMCell, task: TaskPass) -> tuple[tf.Tensor | None, Step]:
    """The cell of Hochreiter and Schmidhuber (1997) with a forget gate, gates i, f, c, o."""
    recurrent = task.value(cell.recurrent_kernel, cell.compute_dtype)
    gate = cell.recurrent_activation

    def step(z: tf.Tensor, states: States) -> States:
        h, c = states
        z_i, z_f, z_c, z_o = tf.split(z + tf.matmul(h, recurrent), 4, axis=-1)
        c = gate(z_f) * c + gate(z_i) * cell.activation(z_c)
        return gate(z_o) * cell.activation(c), c

    return bias_of(cell, task), step


def _gru_step(cell: keras.layers.GRUCell, task: TaskPass) -> tuple[tf.Tensor | None, Step]:
    """The cell of Cho et al. (2014), gates update, reset and candidate."""
    recurrent = task.value(cell.recurrent_kernel, cell.compute_dtype)
    bias = bias_of(cell, task)
    input_bias, recurrent_bias = bias, 0.0
    if cell.reset_after and bias is not None:
        input_bias, recurrent_bias = bias[:, 0], bias[:, 1, None]
    widths = [cell.units, cell.units, cell.units]
    gates, candidate = recurrent[..., : 2 * cell.units], recurrent[..., 2 * cell.units :]

    def step(z: tf.Tensor, states: States) -> States:
        (h,) = states
        z_update, z_reset, z_new = tf.split(z, widths, axis=-1)
        if cell.reset_after:
            inner = tf.matmul(h, recurrent) + recurrent_bias
            h_update, h_reset, h_new = tf.split(inner, widths, axis=-1)
            h_new = cell.recurrent_activation(z_reset + h_reset) * h_new
        else:
            h_update, h_reset = tf.split(tf.matmul(h, gates), 2, axis=-1)
            h_new = tf.matmul(cell.recurrent_activation(z_reset + h_reset) * h, candidate)
        update = cell.recurrent_activation(z_update + h_update)
        return (update * h + (1.0 - update) * cell.activation(z_new + h_new),)

    return input_bias, step


def _is_plain(layer: Any) -> bool:
    has_dropout = layer.cell.dropout > 0.0 or layer.cell.recurrent_dropout > 0.0
    return not (layer.stateful or has_dropout)


_STEPS: dict[type, Callable[[Any, TaskPass], tuple[tf.Tensor | None, Step]]] = {
    keras.layers.SimpleRNNCell: _simple_step,
    keras.layers.LSTMCell: _lstm_step,
    keras.layers.GRUCell: _gru_step,
}

RULES: dict[type, TaskRule] = {
    keras.layers.SimpleRNN: TaskRule(_recurrent, _is_plain),
    keras.layers.LSTM: TaskRule(_recurrent, _is_plain),
    keras.layers.GRU: TaskRule(_recurrent, _is_plain),
}
