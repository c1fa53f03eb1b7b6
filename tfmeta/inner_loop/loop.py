"""The inner loop: gradient steps on a support set, as a function of the initial weights."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfmeta.inner_loop.update_rules import UpdateRule, checked_update

LossFunction = Callable[[Sequence[tf.Tensor], int], tf.Tensor]


def inner_step(
    loss_function: LossFunction,
    weights: Sequence[tf.Tensor],
    *,
    rule: UpdateRule,
    rule_state: Any,
    step: int,
    order: int,
) -> tuple[list[tf.Tensor], Any]:
    """One step of the inner loop.

    `w' = rule(w, g)` with `g = d loss(w, step) / d w`; at `order=1` the derivative of `g` is
    dropped.

    Args:
        loss_function: the support loss (a scalar) as a function of the weights and the step.
        weights: the fast weights.
        rule: how a gradient changes the weights.
        rule_state: the rule's state.
        step: number of this step, from 0.
        order: 1 (first-order approximation) or 2 (exact).

    Returns:
        The new weights and the rule's new state.

    Example:
        >>> weights, _ = inner_step(lambda w, step: w[0] ** 2, [tf.constant(1.0)],
        ...     rule=GradientDescent(0.25), rule_state=(), step=0, order=2)
        >>> float(weights[0])
        0.5
    """
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss = loss_function(weights, step)
    gradients = dense_gradients(tape, loss, weights)
    if order == 1:
        gradients = [tf.stop_gradient(g) for g in gradients]
    return checked_update(rule, step, weights, gradients, rule_state)


def dense_gradients(
    tape: tf.GradientTape, loss: tf.Tensor, sources: Sequence[Any]
) -> list[tf.Tensor]:
    """The gradients of a loss as tensors, zeros where it does not depend on a source.

    Args:
        tape: what recorded the loss.
        loss: a tensor.
        sources: tensors or variables.

    Returns:
        One tensor for each source; the slices of an embedding's gradient are gathered.

    Example:
        >>> x = tf.constant(3.0)
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(x)
        ...     loss = x**2
        >>> [float(g) for g in dense_gradients(tape, loss, [x, tf.constant(1.0)])]
        [6.0, 0.0]
    """
    gradients = tape.gradient(loss, sources, unconnected_gradients="zero")
    return [tf.convert_to_tensor(g) for g in gradients]


def inner_loop(
    loss_function: LossFunction,
    weights: Sequence[tf.Tensor],
    *,
    rule: UpdateRule,
    inner_steps: int,
    order: int = 2,
    checkpoint: bool = False,
) -> list[list[tf.Tensor]]:
    """The weights before and after each inner step (MAML, Finn et al. 2017, algorithm 1).

    Args:
        loss_function: the support loss (a scalar) as a function of the weights and the step.
        weights: the weights that the episode starts from.
        rule: how a gradient changes the weights.
        inner_steps: the number of steps.
        order: 1 or 2, see `inner_step`.
        checkpoint: whether the backward pass computes each step again instead of keeping what
            it computed (Chen et al. 2016): peak memory nearly flat in `inner_steps`, for the time
            of one more forward pass of each step. Eager calls keep everything.

    Returns:
        `inner_steps + 1` lists of weights, the first of them the initial one.

    Example:
        >>> path = inner_loop(lambda w, step: w[0] ** 2, [tf.constant(1.0)],
        ...     rule=GradientDescent(0.25), inner_steps=2)
        >>> [float(weights[0]) for weights in path]
        [1.0, 0.5, 0.25]
    """
    path = [list(weights)]
    rule_state = rule.initial_state(path[0])
    for step in range(inner_steps):
        one_step = functools.partial(inner_step, loss_function, rule=rule, step=step, order=order)
        take_step = _recomputed(one_step) if checkpoint else one_step
        moved, rule_state = take_step(path[-1], rule_state=rule_state)
        path.append(moved)
    return path


def _recomputed(take_step: Callable) -> Callable:
    """The same step, which keeps for the backward pass only what goes into it."""

    def step(weights: Sequence[tf.Tensor], *, rule_state: Any) -> tuple[list[tf.Tensor], Any]:
        def of_tensors(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
            state = tf.nest.pack_sequence_as(rule_state, list(tensors[len(weights) :]))
            moved, state = take_step(list(tensors[: len(weights)]), rule_state=state)
            return [*moved, *tf.nest.flatten(state)]

        tensors = recompute_gradient(of_tensors, [*weights, *tf.nest.flatten(rule_state)])
        state = tf.nest.pack_sequence_as(rule_state, tensors[len(weights) :])
        return tensors[: len(weights)], state

    return step


def recompute_gradient(
    function: Callable[[Sequence[tf.Tensor]], list[tf.Tensor]], tensors: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """`function(tensors)`, computed again for its gradient, in graphs.

    As `tf.recompute_grad`, which stops the recording of tapes and with it a tape inside of
    `function`: an inner step would have the gradient zero.

    Args:
        function: from tensors to tensors; it may read variables.
        tensors: what it is differentiated in, beside those variables.

    Returns:
        A list of tensors.

    Example:
        >>> double = tf.function(lambda x: recompute_gradient(lambda t: [2.0 * t[0]], [x])[0])
        >>> float(double(tf.constant(1.5)))
        3.0
    """
    if tf.executing_eagerly():
        return function(tensors)

    @tf.custom_gradient
    def forward(*tensors: tf.Tensor) -> tuple[list[tf.Tensor], Callable]:
        def gradient(*upstream: tf.Tensor, variables: Sequence[tf.Variable] | None = None) -> Any:
            variables = list(variables or [])
            # Not before the gradient has come back this far, or all steps are in memory at once.
            with tf.control_dependencies(upstream):
                again = [tf.identity(t) for t in tensors]
            with tf.GradientTape() as tape:
                tape.watch([again, variables])
                results = function(again)
            gradients = tape.gradient(
                results,
                [*again, *variables],
                output_gradients=upstream,
                unconnected_gradients="zero",
            )
            return gradients[: len(again)], gradients[len(again) :]

        return function(tensors), gradient

    return list(forward(*tensors))
