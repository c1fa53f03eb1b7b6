"""The memory of a train step, predicted from the graph of one task without computing it."""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

# Operations whose output is their first input's memory, or a variable's.
_ALIASES = {
    "Identity",
    "IdentityN",
    "Reshape",
    "Squeeze",
    "ExpandDims",
    "StopGradient",
    "PreventGradient",
    "EnsureShape",
    "Snapshot",
}
# Operations that take no memory of the task: what they give is there before the step.
_GIVEN = {"Placeholder", "Const", "ReadVariableOp", "VarHandleOp", "NoOp", "Assert"}
# Elementwise operations, which write over an input that nothing else needs.
_IN_PLACE = re.compile(
    "Add|AddV2|AddN|Sub|Mul|Div|RealDiv|DivNoNan|Maximum|Minimum|Neg|Square|Sqrt|Rsqrt|Exp|Log|"
    "Log1p|Tanh|Sigmoid|Relu|Relu6|Elu|Selu|Softplus|(Relu|Tanh|Sigmoid|Sqrt|Rsqrt|Elu|Softplus)"
    "Grad|SquaredDifference|BiasAdd|Softmax|LogSoftmax|Pow|Abs|Sign|Reciprocal|Select|SelectV2"
)


class MemoryPlan(NamedTuple):
    """The bytes that a train step needs, and what a budget has room for.

    `peak_bytes = fixed_bytes + n_tasks * episode_bytes + task_bytes + (tasks_at_once - 1) *
    next_task_bytes`. TensorFlow's own memory and the traced graph, which are there once the first
    step has ended, are not in it.

    Attributes:
        task_bytes: the most that one task needs: activations, gradients, fast weights.
        next_task_bytes: what each further task under way adds. Vectorized: as much. Mapped: the
            mean over a task's step, since tasks side by side are not at its peak together.
        episode_bytes: what every task of the batch needs: the episode and its outputs.
        fixed_bytes: what does not depend on the tasks: weights, the optimizer, gradients.
        n_tasks: tasks of the batch.
        tasks_at_once: tasks that the step has under way at most.
        peak_bytes: all of it together.
        largest_n_tasks: the largest batch that the budget has room for, with the learner's own
            `tasks_at_once`; None without a budget.
        largest_tasks_at_once: the largest `tasks_at_once` for this batch; None without a budget.
    """

    task_bytes: int
    next_task_bytes: int
    episode_bytes: int
    fixed_bytes: int
    n_tasks: int
    tasks_at_once: int
    peak_bytes: int
    largest_n_tasks: int | None = None
    largest_tasks_at_once: int | None = None


def plan_memory(
    step: Callable[[Mapping[str, tf.Tensor]], Any],
    elements: Mapping[str, tf.TensorSpec],
    *,
    fixed_bytes: int,
    n_tasks: int,
    limit: int | None,
    is_mapped: bool,
    memory: int | None = None,
) -> MemoryPlan:
    """The memory that a train step needs.

    Args:
        step: the outer step of tasks, from elements with a leading task axis.
        elements: shapes and dtypes of one task's elements, their task axis 1.
        fixed_bytes: what does not depend on the tasks.
        n_tasks: tasks of the batch.
        limit: tasks that are under way at most; None for all.
        is_mapped: whether each task goes through the step by itself.
        memory: the budget in bytes, or None.

    Returns:
        A `MemoryPlan`.

    Raises:
        ValueError: where the batch does not fit the budget; the message says what would.

    Example:
        >>> elements = {"x": tf.TensorSpec([1, 100])}
        >>> plan = plan_memory(lambda e: tf.reduce_sum(e["x"] @ tf.transpose(e["x"])), elements,
        ...     fixed_bytes=0, n_tasks=8, limit=2, is_mapped=True)
        >>> plan.episode_bytes, plan.tasks_at_once
        (400, 2)
    """
    function = tf.function(step, autograph=False).get_concrete_function(dict(elements))
    kept = [t for t in function.outputs[:1] if t.shape.rank]
    episode_bytes = sum(_bytes(t) for t in (*elements.values(), *kept))
    alive = live_bytes(function.graph)
    next_bytes = alive.mean if is_mapped else alive.peak
    at_once = min(n_tasks, limit or n_tasks)
    peak = fixed_bytes + n_tasks * episode_bytes + alive.peak + (at_once - 1) * next_bytes
    plan = MemoryPlan(alive.peak, next_bytes, episode_bytes, fixed_bytes, n_tasks, at_once, peak)
    return plan if memory is None else _within(plan, memory, limit)


def _within(plan: MemoryPlan, memory: int, limit: int | None) -> MemoryPlan:
    """The plan with what a budget has room for."""
    free = memory - plan.fixed_bytes - plan.task_bytes
    episode, more = max(1, plan.episode_bytes), max(1, plan.next_task_bytes)
    n_tasks = max(0, 1 + (free - episode) // (episode + more))
    if limit is not None and n_tasks >= limit:
        n_tasks = (free - (limit - 1) * more) // episode
    at_once = min(plan.n_tasks, max(0, 1 + (free - plan.n_tasks * episode) // more))
    if plan.peak_bytes <= memory:
        return plan._replace(largest_n_tasks=n_tasks, largest_tasks_at_once=at_once)
    cures = [f"`tasks_at_once={at_once}`"] * (at_once > 0) + [f"n_tasks={n_tasks}"] * (n_tasks > 0)
    cure = (
        f"{' or '.join(cures)} would."
        if cures
        else (
            f"Not even one task does, which needs {plan.fixed_bytes + plan.task_bytes}: use "
            "`checkpoint_inner=True`, fewer inner steps, `order=1` or a smaller network."
        )
    )
    raise ValueError(
        f"The tasks of a step must fit the `memory` of {memory} bytes. Received: "
        f"n_tasks={plan.n_tasks}, {plan.tasks_at_once} at once, which need {plan.peak_bytes} "
        f"bytes. {cure}"
    )


# ----- what is alive ----------------------------------------------------------------------------


class LiveBytes(NamedTuple):
    """The bytes of the tensors of a graph: the most, and the mean over the time it takes."""

    peak: int
    mean: int


def live_bytes(graph: Any) -> LiveBytes:
    """The bytes that the tensors of a graph take at a time.

    The operations are gone through in the order in which TensorFlow's executor runs them: first
    those that are ready first. A tensor lives from the operation that makes it to the last one that
    reads it; elementwise operations write over an input that nothing else reads. A loop is one pass
    of its body and what every pass keeps for the gradient. Inputs, constants, variables and what
    kernels take for themselves are not counted; an unknown size counts as 1. For the mean, the time
    of an operation is taken to be as the bytes that go in and out.

    Args:
        graph: of a concrete function.

    Returns:
        Bytes.

    Example:
        >>> total = tf.function(lambda x: tf.reduce_sum(tf.exp(x)))
        >>> live_bytes(total.get_concrete_function(tf.TensorSpec([1000])).graph).peak
        4004
    """
    operations = [op for op in _in_order(graph) if op.type not in _ALIASES | _GIVEN]
    readers = Counter(_memory(t) for op in operations for t in op.inputs)
    for tensor in graph.outputs:  # alive to the end
        readers[_memory(tensor)] += 1
    alive: dict[str, int] = {}
    total = peak = moved = total_times_moved = 0
    for op in operations:
        read = Counter(_memory(t) for t in op.inputs)
        readers.subtract(read)
        ended = {name: alive[name] for name in read if name in alive and not readers[name]}
        made = {**{t.name: _bytes(t) for t in op.outputs}, **_lists_of_loop(op)}
        taken_over = _written_over(op, made, ended)
        total += sum(made.values()) - taken_over
        peak = max(peak, total + _bytes_inside(op))
        n_moved = sum(_bytes(t) for t in (*op.inputs, *op.outputs))
        moved, total_times_moved = moved + n_moved, total_times_moved + total * n_moved
        alive.update(made)
        ended.update({name: n for name, n in made.items() if not readers[name]})
        total -= sum(ended.values()) - taken_over
        for name in ended:
            del alive[name]
    return LiveBytes(peak, total_times_moved // max(1, moved))


def _written_over(op: Any, made: Mapping[str, int], ended: Mapping[str, int]) -> int:
    """Bytes of an input that an elementwise operation writes its output over."""
    n_bytes = next(iter(made.values()), 0)
    return n_bytes if _IN_PLACE.fullmatch(op.type) and n_bytes in ended.values() else 0


def _in_order(graph: Any) -> list[Any]:
    """The operations that the outputs need, as an executor with one queue runs them."""
    needed = _needed(graph)
    waiting = {}
    followers: dict[Any, list[Any]] = {op: [] for op in needed}
    for op in needed:
        before = _before(op)
        waiting[op] = len(before)
        for other in before:
            followers[other].append(op)
    queue = deque(op for op in needed if not waiting[op])
    order = []
    while queue:
        op = queue.popleft()
        order.append(op)
        for follower in followers[op]:
            waiting[follower] -= 1
            if not waiting[follower]:
                queue.append(follower)
    return order


def _needed(graph: Any) -> list[Any]:
    found = set()
    stack = [t.op for t in graph.outputs] + list(getattr(graph, "control_outputs", ()))
    while stack:
        op = stack.pop()
        if op not in found:
            found.add(op)
            stack.extend(_before(op))
    return [op for op in graph.get_operations() if op in found]


def _before(op: Any) -> set[Any]:
    return {t.op for t in op.inputs} | set(op.control_inputs)


def _memory(tensor: Any) -> str:
    """The name of the tensor whose memory this one is."""
    while tensor.op.type in _ALIASES:
        tensor = tensor.op.inputs[tensor.value_index if tensor.op.type == "IdentityN" else 0]
    return tensor.name


def _bytes_inside(op: Any) -> int:
    """What the functions that an operation calls need beside its inputs and outputs."""
    attributes = op.node_def.attr.values()
    names = [value.func.name for value in attributes if value.HasField("func")]
    names += [function.name for value in attributes for function in value.list.func]
    return max([live_bytes(op.graph._get_function(name).graph).peak for name in names], default=0)


def _lists_of_loop(op: Any) -> dict[str, int]:
    """The bytes of the lists to which every pass of a loop adds."""
    if op.type not in ("While", "StatelessWhile"):
        return {}
    n_passes = tf.get_static_value(op.inputs[1])  # -1 where nothing is known
    body = op.graph._get_function(op.get_attr("body").name).graph
    lists = {}
    for output, result in zip(op.outputs, body.outputs, strict=True):
        while result.op.type in _ALIASES:
            result = result.op.inputs[0]
        if result.op.type in ("TensorListPushBack", "TensorListSetItem"):
            item = result.op.inputs[-1]
            lists[output.name] = max(1, int(n_passes or 1)) * _bytes(item)
    return lists


def _bytes(tensor: Any) -> int:
    if tensor.dtype in (tf.resource, tf.variant, tf.string) or tensor.shape.rank is None:
        return 0
    return math.prod(size or 1 for size in tensor.shape) * tensor.dtype.size
