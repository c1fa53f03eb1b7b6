"""The outer step of a batch of tasks: a few tasks at a time, their gradients added up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from tfmeta.errors import require
from tfmeta.learners.episode import OuterStep
from tfmeta.learners.passes import Moments

# `BatchStep.ill` of a task whose loss and gradient are finite.
_WELL = -1


class BatchStep(NamedTuple):
    """What a batch of tasks gives to the outer loop.

    `outputs [tasks, query, ...]` and `loss [tasks]`; `ill [tasks]`, which is -1 where loss and
    gradient are finite, else the inner step that first gave weights that are not, 0 for none;
    `gradients` and `moments`, their means over the tasks.
    """

    outputs: tf.Tensor
    loss: tf.Tensor
    ill: tf.Tensor
    gradients: tuple[tf.Tensor, ...]
    moments: Moments


def sum_of_one(step: OuterStep) -> BatchStep:
    """The outer step of one task as a batch, with sums in place of the means."""
    ill = _where_not_finite(step, lambda x: tf.reduce_all(tf.math.is_finite(x)))
    outputs, loss, ill = (x[tf.newaxis] for x in (step.outputs, step.loss, ill))
    return BatchStep(outputs, loss, ill, tuple(step.gradients), tuple(step.moments))


def sum_of_many(step: OuterStep) -> BatchStep:
    """A batch from an `OuterStep` with a task axis, with sums in place of the means."""

    def is_finite(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_all(tf.math.is_finite(tf.reshape(x, [tf.shape(x)[0], -1])), axis=1)

    gradients = tuple(tf.reduce_sum(x, axis=0) for x in step.gradients)
    moments = tuple(tf.reduce_sum(x, axis=0) for x in step.moments)
    ill = _where_not_finite(step, is_finite)
    return BatchStep(step.outputs, step.loss, ill, gradients, moments)


def step_of_batch(
    sum_of_tasks: Callable[[Mapping[str, tf.Tensor]], BatchStep],
    elements: Mapping[str, tf.Tensor],
    *,
    spec: OuterStep,
    n_at_once: int | None,
    side_by_side: int = 1,
) -> BatchStep:
    """The outer step of a batch; memory for gradients does not grow with the tasks.

    Args:
        sum_of_tasks: from a part of the elements to a `BatchStep` of sums.
        elements: tensors with a leading task axis.
        spec: shapes and dtypes of the `OuterStep` of one task.
        n_at_once: tasks of one call of `sum_of_tasks`; the last call may have fewer. None for all.
        side_by_side: calls that may run at the same time, where a graph is computed.

    Returns:
        A `BatchStep`.
    """
    any_element = next(iter(elements.values()))
    n_tasks = any_element.shape[0] or tf.shape(any_element)[0]
    if n_at_once is None:
        sums = sum_of_tasks(elements)
    else:
        sums = _loop(sum_of_tasks, elements, n_tasks, spec, n_at_once, side_by_side)
    gradients, moments = (
        tuple(x / tf.cast(n_tasks, x.dtype) for x in each)
        for each in (sums.gradients, sums.moments)
    )
    return sums._replace(gradients=gradients, moments=moments)


def _loop(
    sum_of_tasks: Callable[[Mapping[str, tf.Tensor]], BatchStep],
    elements: Mapping[str, tf.Tensor],
    n_tasks: Any,
    spec: OuterStep,
    n_at_once: int,
    side_by_side: int,
) -> BatchStep:
    n_parts = -(-n_tasks // n_at_once)
    # XLA asks for parts of one size, known when it compiles.
    is_even = n_at_once == 1 or (isinstance(n_tasks, int) and n_tasks % n_at_once == 0)
    kept_specs = (spec.outputs, spec.loss, tf.TensorSpec([], "int32"))
    shapes = [[n_at_once if is_even else None, *s.shape] for s in kept_specs]

    def body(number: tf.Tensor, arrays: list, sums: list) -> tuple:
        start = number * n_at_once
        size = n_at_once if is_even else tf.minimum(n_at_once, n_tasks - start)
        part = sum_of_tasks({key: _rows(x, start, size) for key, x in elements.items()})
        kept, added = part[:3], (*part.gradients, *part.moments)
        arrays = [array.write(number, x) for array, x in zip(arrays, kept, strict=True)]
        pairs = zip(sums, added, strict=True)
        return number + 1, arrays, [tf.ensure_shape(s + x, s.shape) for s, x in pairs]

    arrays = [
        tf.TensorArray(s.dtype, n_parts, infer_shape=False, element_shape=shape)
        for s, shape in zip(kept_specs, shapes, strict=True)
    ]
    zeros = [tf.zeros(s.shape, s.dtype) for s in (*spec.gradients, *spec.moments)]
    _, arrays, sums = tf.while_loop(
        lambda number, *_: number < n_parts,
        body,
        (tf.constant(0), arrays, zeros),
        parallel_iterations=side_by_side,
    )
    static_n_tasks = n_tasks if isinstance(n_tasks, int) else None
    outputs, loss, ill = (
        tf.ensure_shape(_joined(array, is_even=is_even), [static_n_tasks, *s.shape])
        for array, s in zip(arrays, kept_specs, strict=True)
    )
    n_gradients = len(spec.gradients)
    return BatchStep(outputs, loss, ill, tuple(sums[:n_gradients]), tuple(sums[n_gradients:]))


def _rows(x: tf.Tensor, start: tf.Tensor, size: Any) -> tf.Tensor:
    n_others = len(x.shape) - 1
    return tf.slice(x, [start, *[0] * n_others], [size, *[-1] * n_others])


def _joined(array: tf.TensorArray, *, is_even: bool) -> tf.Tensor:
    if not is_even:
        return array.concat()
    parts = array.stack()
    shape = tf.shape(parts)
    return tf.reshape(parts, tf.concat([[shape[0] * shape[1]], shape[2:]], axis=0))


def require_finite(
    step: BatchStep, gradients: list[tf.Tensor], numbers: tf.Tensor
) -> list[tf.Tensor]:
    """The gradients, once the loss and the gradient of every task are finite."""
    is_ill = tf.not_equal(step.ill, _WELL)
    return require(
        ~tf.reduce_any(is_ill),
        "The loss or its gradient is not finite, and the weights are as they were before this "
        "step. Lower the learning rates or look at the data. Received: episodes, and the inner "
        "step after which the weights of each were not finite (0 for none) =",
        [tf.boolean_mask(numbers, is_ill), tf.boolean_mask(step.ill, is_ill)],
        gradients,
    )


def _where_not_finite(step: OuterStep, is_finite: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """`BatchStep.ill`: a scalar of one task, or `[tasks]`, as `is_finite` gives them."""

    def are_finite(tensors: Any) -> tf.Tensor:
        return tf.reduce_all(tf.stack([is_finite(x) for x in tensors]), axis=0)

    is_well = are_finite((step.loss, *step.gradients))

    def search() -> tf.Tensor:
        if not step.path:
            return tf.where(is_well, _WELL, 0)
        is_ill = tf.stack([~are_finite(weights) for weights in step.path[1:]], axis=-1)
        first = 1 + tf.argmax(tf.cast(is_ill, "int32"), axis=-1, output_type="int32")
        return tf.where(is_well, _WELL, tf.where(tf.reduce_any(is_ill, axis=-1), first, 0))

    # The weights of the inner steps are looked at only where that is needed.
    return tf.cond(tf.reduce_all(is_well), lambda: tf.fill(tf.shape(is_well), _WELL), search)
