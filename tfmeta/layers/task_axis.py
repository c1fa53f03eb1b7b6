"""A network called for many tasks at once, each with weights of its own.

The task axis is carried through the layers: `tf.map_fn` over tasks, but with one kernel for all of
them. A layer whose weights differ between tasks needs a rule (`task_rules`); every other layer
takes the examples of all tasks as one batch.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tfmeta.layers import task_rules, task_rules_recurrent, task_rules_windows
from tfmeta.layers.exact import moving_statistics
from tfmeta.layers.normalization import SOURCES
from tfmeta.layers.task_rules import TaskPass, TaskRule, sizes

Values = Iterable[tuple[keras.Variable, tf.Tensor]]
Moments = tuple[tf.Tensor, ...]

_RULES: dict[type, TaskRule] = {
    **task_rules.RULES,
    **task_rules_windows.RULES,
    **task_rules_recurrent.RULES,
}
# What they do to the examples of another task cannot be told, or a mask that the rules do not know.
_OPAQUE = (keras.layers.Lambda, keras.layers.TFSMLayer, keras.layers.Masking)


def call_with_task_axis(
    network: keras.Model,
    x: Any,
    values: Values,
    *,
    source: str | None = None,
    training: bool = False,
    moments: Moments = (),
    shared: Values = (),
) -> tuple[Any, Moments]:
    """Outputs of a network for every task, and the moving statistics after the pass.

    `outputs[t] = network(x[t])` under `values[t]`, batch statistics being those of `x[t]`. Nothing
    is assigned. Derivatives of every order are exact, and flow into `x`, `values`, `moments` and
    the variables without a value.

    Args:
        network: a built functional or sequential model with exact normalisation layers.
        x: `[tasks, n, ...]`, or a nest of such tensors.
        values: pairs of a variable and its values `[tasks, *variable.shape]`. A variable without
            a value is the same for all tasks.
        source: which statistics normalise `x`, see `normalize_by`; None goes by `training`.
        training: whether dropout and the like are on.
        moments: values `[tasks, channels]` of the moving statistics before the pass, in the order
            of `moving_statistics`; `()` for the variables' own.
        shared: pairs of a variable and a value that stands in for it in all tasks (the states of
            seed generators).

    Returns:
        Outputs `[tasks, n, ...]` and the moving statistics `[tasks, channels]`.

    Raises:
        ValueError: for another source, or a layer that cannot carry the task axis.

    Example:
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        >>> kernels = tf.constant([2.0, 3.0], shape=[2, 1, 1])
        >>> outputs, _ = call_with_task_axis(
        ...     network, tf.ones([2, 1, 1]), [(network.weights[0], kernels)])
        >>> outputs.numpy().ravel()
        array([2., 3.], dtype=float32)
    """
    values = list(values)
    _check(network, [variable for variable, _ in values], source)
    x = keras.tree.map_structure(tf.convert_to_tensor, x)
    n_tasks, n = sizes(keras.tree.flatten(x)[0])[:2]
    with keras.StatelessScope(state_mapping=list(shared)):
        moving = moving_statistics(network)
        before = moments or [of_each_task(variable, n_tasks) for variable in moving]
        task = TaskPass(
            n_tasks=n_tasks,
            n=n,
            values={id(variable): value for variable, value in values},
            moving={id(v): value for v, value in zip(moving, before, strict=True)},
            source=source,
            training=training,
        )
        outputs = _run(network, keras.tree.map_structure(task.merge, x), task)
    after = tuple(task.moving[id(variable)] for variable in moving)
    return keras.tree.map_structure(task.split, outputs), after


def layers_without_rule(
    network: keras.Model, variables: Collection[keras.Variable] | None = None
) -> list[str]:
    """Names of the layers that cannot carry the task axis.

    They have weights that differ between tasks and no rule, or may mix the examples of a batch: a
    class of the user's, masking, an operation along the batch axis.

    Args:
        network: a built Keras model.
        variables: those that differ between tasks; None for all.

    Returns:
        Names with the class, `"attention (MultiHeadAttention)"`.

    Example:
        >>> lstm = keras.layers.LSTM(2, dropout=0.5, name="memory")
        >>> layers_without_rule(keras.Sequential([keras.Input((3, 1)), lstm]))
        ['memory (LSTM)']
    """
    adapted = None if variables is None else {id(variable) for variable in variables}
    found = dict.fromkeys(_obstacles(network, adapted))
    return [f"{operation.name} ({type(operation).__name__})" for operation in found]


def _check(network: keras.Model, variables: Collection[keras.Variable], source: str | None) -> None:
    if source is not None and source not in SOURCES:
        raise ValueError(f"`source` must be one of {SOURCES} or None. Received: source={source!r}")
    names = layers_without_rule(network, variables)
    if names:
        raise ValueError(
            f"These layers cannot carry the task axis: {names}. Map over the tasks, or replace "
            "them."
        )


def of_each_task(variable: keras.Variable, n_tasks: Any) -> tf.Tensor:
    """A variable's value for each task.

    Args:
        variable: a Keras variable.
        n_tasks: the number of tasks.

    Returns:
        `[tasks, *variable.shape]`.

    Example:
        >>> of_each_task(keras.Variable([1.0, 2.0]), 3).shape
        TensorShape([3, 2])
    """
    value = tf.convert_to_tensor(variable.value)
    return tf.broadcast_to(value, [n_tasks, *value.shape])


# ----- traversal --------------------------------------------------------------------------------


def _graph(operation: Any) -> Any:
    """The graph of operations that a call of a model runs through; None if it may do otherwise."""
    if not isinstance(operation, keras.Model) or not _is_keras(type(operation).call):
        return None
    graph = operation._functional if isinstance(operation, keras.Sequential) else operation
    return graph if isinstance(graph, keras.Function) else None


def _run(network: keras.Model, inputs: Any, task: TaskPass) -> Any:
    graph = _graph(network)
    outputs = graph._run_through_graph(
        graph._standardize_inputs(inputs),
        operation_fn=lambda operation: functools.partial(_apply, operation, task),
    )
    is_single = isinstance(outputs, (list, tuple)) and len(outputs) == 1
    return outputs[0] if is_single else outputs


def _apply(operation: Any, task: TaskPass, *args: Any, **kwargs: Any) -> Any:
    """What an operation makes of the examples of all tasks, `[tasks * n, ...]`."""
    if _graph(operation) is not None:
        return _run(operation, args[0], task)
    if _needs_rule(operation, task.values):
        x = args[0]
        if operation.autocast and x.dtype.is_floating:
            x = tf.cast(x, operation.compute_dtype)
        return _RULES[type(operation)].call(operation, x, task)
    if getattr(operation, "_call_has_training_arg", False):
        kwargs["training"] = task.training
    return operation(*args, **kwargs)


# ----- what has a rule --------------------------------------------------------------------------


def _has_rule(operation: Any) -> bool:
    rule = _RULES.get(type(operation))
    return rule is not None and rule.holds(operation)


def _needs_rule(operation: Any, adapted: Collection[int] | None) -> bool:
    """Whether a layer cannot take the examples of all tasks as one batch, or should not."""
    if isinstance(operation, keras.layers.BatchNormalization):
        return True
    if not isinstance(operation, keras.Layer):
        return False
    if not operation.weights:  # max pooling, which has a rule because of XLA
        return _has_rule(operation)
    return adapted is None or any(id(variable) in adapted for variable in operation.weights)


def _obstacles(network: Any, adapted: Collection[int] | None) -> Iterator[Any]:
    graph = _graph(network)
    if graph is None:
        yield network
        return
    nodes = [n for depth in sorted(graph._nodes_by_depth) for n in graph._nodes_by_depth[depth]]
    for node in reversed(nodes):
        operation = node.operation
        if node.is_input:
            continue
        if isinstance(operation, keras.Model):
            yield from _obstacles(operation, adapted)
        elif not _is_carried(node, adapted):
            yield operation


def _is_carried(node: Any, adapted: Collection[int] | None) -> bool:
    operation = node.operation
    if not isinstance(operation, keras.Layer):
        return _is_along_examples(node)
    if _needs_rule(operation, adapted):
        return _has_rule(operation) and len(node.input_tensors) == 1
    return all(_takes_any_batch(layer) for layer in operation._flatten_layers())


def _takes_any_batch(layer: keras.Layer) -> bool:
    """Whether a layer is known to treat each example of a batch by itself."""
    if not _is_keras(type(layer)) or isinstance(layer, _OPAQUE):
        return False
    mixes = isinstance(layer, keras.layers.BatchNormalization)
    return not (mixes or getattr(layer, "stateful", False) or getattr(layer, "mask_zero", False))


def _is_along_examples(node: Any) -> bool:
    """Whether an operation of `keras.ops` leaves the batch axis alone, by its shapes and axes."""
    n_free = max(x.shape.count(None) for x in node.input_tensors)
    for x in node.outputs:
        # More free axes than before: the batch met itself, as in a matrix of similarities.
        if not x.shape or x.shape[0] is not None or x.shape.count(None) > n_free:
            return False
    axes = getattr(node.operation, "axis", -1)
    rank = max(len(x.shape) for x in node.input_tensors)
    axes = axes if isinstance(axes, (list, tuple)) else [axes]
    return all(axis is not None and axis % rank != 0 for axis in axes)


def _is_keras(thing: Any) -> bool:
    return thing.__module__.split(".")[0] in ("keras", "tfmeta")
