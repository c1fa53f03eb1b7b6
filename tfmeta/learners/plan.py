"""The memory of a train step, predicted from the graph of one task without computing it."""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
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

    `peak_bytes = fixed_bytes + n_tasks * episode_bytes + tasks_at_once * task_bytes`. TensorFlow's
    own memory and the traced graph, which are there before the first step ends, are not in it.

    Attributes:
        task_bytes: what one task under way needs: activations, gradients, fast weights.
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
    memory: int | None = None,
) -> MemoryPlan:
    """The memory that a train step needs.

    Args:
        step: the outer step of tasks, from elements with a leading task axis.
        elements: shapes and dtypes of one task's elements, their task axis 1.
        fixed_bytes: what does not depend on the tasks.
        n_tasks: tasks of the batch.
        limit: tasks that are under way at most; None for all.
        memory: the budget in bytes, or None.

    Returns:
        A `MemoryPlan`.

    Raises:
        ValueError: where the batch does not fit the budget; the message says what would.

    Example:
        >>> elements = {"x": tf.TensorSpec([1, 100])}
        >>> plan = plan_memory(lambda e: tf.reduce_sum(e["x"] @ tf.transpose(e["x"])), elements,
        ...     fixed_bytes=0, n_tasks=8, limit=2)
        >>> plan.episode_bytes, plan.tasks_at_once
        (400, 2)
    """
    function = tf.function(step, autograph=False).get_concrete_function(dict(elements))
    kept = [t for t in function.outputs[:1] if t.shape.rank]
    episode_bytes = sum(_bytes(t) for t in (*elements.values(), *kept))
    task_bytes = peak_bytes(function.graph)
    tasks_at_once = min(n_tasks, limit or n_tasks)
    peak = fixed_bytes + n_tasks * episode_bytes + tasks_at_once * task_bytes
    plan = MemoryPlan(task_bytes, episode_bytes, fixed_bytes, n_tasks, tasks_at_once, peak)
    return plan if memory is None else _within(plan, memory, limit)


def _within(plan: MemoryPlan, memory: int, limit: int | None) -> MemoryPlan:
    """The plan with what a budget has room for."""
    free = memory - plan.fixed_bytes
    n_tasks = max(0, free // (plan.episode_bytes + plan.task_bytes))
    if limit is not None and n_tasks >= limit:
        n_tasks = (free - limit * plan.task_bytes) // plan.episode_bytes
    at_once = min(
        plan.n_tasks, max(0, (free - plan.n_tasks * plan.episode_bytes) // plan.task_bytes)
    )
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


def peak_bytes(graph: Any) -> int:
    """The most bytes that the tensors of a graph take at a time.

    The operations are gone through in the order in which TensorFlow's executor runs them: first
    those that are ready first. A tensor lives from the operation that makes it to the last one that
    reads it; elementwise operations write over an input that nothing else reads. A loop is one pass
    of its body and what every pass keeps for the gradient. Inputs, constants, variables and what
    kernels take for themselves are not counted; an unknown size counts as 1.

    Args:
        graph: of a concrete function.

    Returns:
        Bytes.

    Example:
        >>> double = tf.function(lambda x: tf.reduce_sum(tf.exp(x)))
        >>> peak_bytes(double.get_concrete_function(tf.TensorSpec([1000])).graph)
        4004
    """
    operations = _in_order(graph)
    readers = _readers(operations)
    for tensor in graph.outputs:  # alive to the end
        readers[_memory(tensor)] += 1
    alive: dict[str, int] = {}
    total = peak = 0
    for op in operations:
        if op.type in _ALIASES | _GIVEN:
            continue
        read = Counter(_memory(t) for t in op.inputs)
        readers.subtract(read)
        ended = {name: alive[name] for name in read if name in alive and not readers[name]}
        made = {**{t.name: _bytes(t) for t in op.outputs}, **_lists_of_loop(op)}
        taken_over = _written_over(op, made, ended)
        total += sum(made.values()) - taken_over
        peak = max(peak, total + _bytes_inside(op))
        alive.update(made)
        ended.update({name: n for name, n in made.items() if not readers[name]})
        total -= sum(ended.values()) - taken_over
        for name in ended:
            del alive[name]
    return peak


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


def _readers(operations: Iterable[Any]) -> Counter[str]:
    """How many times each memory is read."""
    return Counter(
        _memory(t) for op in operations if op.type not in _ALIASES | _GIVEN for t in op.inputs
    )


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
    return max([peak_bytes(op.graph._get_function(name).graph) for name in names], default=0)


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
