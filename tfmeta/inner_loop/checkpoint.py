"""Gradients of the inner loop that are computed again instead of kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfmeta.inner_loop.draws import draws_of_pass, next_pass

StepFunction = Callable[[Sequence[tf.Tensor], Any], list[tf.Tensor]]
# A function that is not inlined is one function of the graph, however often it is called.
_SHARED = {"_noinline": True}


def recomputed(function: StepFunction) -> StepFunction:
    """`function(tensors, step)`, computed again for its derivative, in graphs.

    As `tf.recompute_grad`, which stops the recording of tapes and with it a tape inside of
    `function`: an inner step would have the derivative zero. All calls share one function of the
    graph and one for the derivative, so that tracing does not grow with the steps either.
    Random layers draw in the second computation what they drew in the first.

    Args:
        function: from tensors and the number of the step, a scalar int32 tensor, to tensors; it
            may read variables.

    Returns:
        A function of tensors and an integer.

    Example:
        >>> double = recomputed(lambda tensors, step: [2.0 * tensors[0]])
        >>> float(tf.function(lambda x: double([x], 0)[0])(tf.constant(1.5)))
        3.0
    """
    derivatives: dict[tuple[int, ...], Callable] = {}
    seed, first = None, 0

    def at_step(step: tf.Tensor, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        with draws_of_pass(seed, first + step):
            return function(list(tensors), step)

    forward = tf.function(at_step, autograph=False, experimental_attributes=_SHARED)

    @tf.custom_gradient
    def with_derivative(step: tf.Tensor, *tensors: tf.Tensor) -> tuple[list[tf.Tensor], Callable]:
        def derivative(*upstream: tf.Tensor, variables: Sequence[tf.Variable] = ()) -> Any:
            read = tuple(id(v) for v in variables)
            if read not in derivatives:
                derivatives[read] = _derivative(at_step, list(variables))
            gradients = derivatives[read](step, tensors, upstream)
            of_tensors = [None, *gradients[: len(tensors)]]
            return (of_tensors, gradients[len(tensors) :]) if variables else of_tensors

        return forward(step, tensors), derivative

    def call(tensors: Sequence[tf.Tensor], step: int) -> list[tf.Tensor]:
        nonlocal seed, first
        if tf.executing_eagerly():
            return function(tensors, step)
        number_of_pass = next_pass()
        if not step:
            seed, first = number_of_pass
        return list(with_derivative(tf.constant(step), *tensors))

    return call


def _derivative(function: Callable, variables: Sequence[tf.Variable]) -> Callable:
    """The product of `function`'s Jacobian with what comes from behind it."""

    def product(
        step: tf.Tensor, tensors: Sequence[tf.Tensor], upstream: Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([tensors, variables])
            results = function(step, tensors)
        gradients = tape.gradient(
            results,
            [*tensors, *variables],
            output_gradients=upstream,
            unconnected_gradients="zero",
        )
        return [tf.convert_to_tensor(g) for g in gradients]

    return tf.function(product, autograph=False, experimental_attributes=_SHARED)
