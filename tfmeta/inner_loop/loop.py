"""The inner loop: gradient steps on a support set, as a function of the initial weights."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfmeta.inner_loop.checkpoint import StepFunction, recomputed
from tfmeta.inner_loop.update_rules import UpdateRule, checked_update

LossFunction = Callable[[Sequence[tf.Tensor], int], Any]


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
        loss_function: the support loss (a scalar) as a function of the weights and the step; for
            a rule that reads the loss it may be a tuple, whose other tensors are the context.
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
    seen = _seen_by(rule, loss_function)(weights, step)
    return _moved(weights, seen, rule=rule, rule_state=rule_state, step=step, order=order)


def loss_gradients(
    loss_function: LossFunction, weights: Sequence[tf.Tensor], step: int
) -> list[tf.Tensor]:
    """`d loss(w, step) / d w`, which has derivatives itself.

    Args:
        loss_function: a scalar as a function of the weights and the step.
        weights: tensors.
        step: number of the inner step, from 0.

    Returns:
        One tensor for each weight.

    Example:
        >>> [float(g) for g in loss_gradients(lambda w, step: w[0] ** 2, [tf.constant(1.5)], 0)]
        [3.0]
    """
    with tf.GradientTape() as tape:
        tape.watch(weights)
        loss = loss_function(weights, step)
    return dense_gradients(tape, loss, weights)


def _seen_by(rule: Any, loss_function: LossFunction) -> StepFunction:
    """From weights and the step to the gradients, and behind them the loss and its context."""
    if not rule.reads_loss:
        return functools.partial(loss_gradients, loss_function)

    def seen(weights: Sequence[tf.Tensor], step: int) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            results = loss_function(weights, step)
            loss, *context = results if isinstance(results, tuple) else (results,)
        return [*dense_gradients(tape, loss, weights), loss, *context]

    return seen


def _moved(
    weights: Sequence[tf.Tensor],
    seen: Sequence[tf.Tensor],
    *,
    rule: UpdateRule,
    rule_state: Any,
    step: int,
    order: int,
) -> tuple[list[tf.Tensor], Any]:
    if order == 1:
        seen = [tf.stop_gradient(x) for x in seen]
    gradients, others = seen[: len(weights)], seen[len(weights) :]
    read = {"loss": others[0], "context": tuple(others[1:])} if others else {}
    return checked_update(rule, step, weights, gradients, rule_state, **read)


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
        loss_function: the support loss as a function of the weights and the step, see `inner_step`.
        weights: the weights that the episode starts from.
        rule: how a gradient changes the weights.
        inner_steps: the number of steps.
        order: 1 or 2, see `inner_step`.
        checkpoint: whether the backward pass computes each gradient again instead of keeping what
            led to it (Chen et al. 2016): peak memory nearly flat in `inner_steps`, for the time
            of one more forward pass of each step. The loss then gets the step as a scalar tensor.
            Eager calls keep everything.

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
    see = _seen_by(rule, loss_function)
    if checkpoint:
        see = recomputed(see)
    for step in range(inner_steps):
        weights, seen = path[-1], see(path[-1], step)
        moved, rule_state = _moved(
            weights, seen, rule=rule, rule_state=rule_state, step=step, order=order
        )
        path.append(moved)
    return path
