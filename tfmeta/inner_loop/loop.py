"""The inner loop: gradient steps on a support set, as a function of the initial weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfmeta.inner_loop.update_rules import UpdateRule

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
    gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
    gradients = [tf.convert_to_tensor(g) for g in gradients]
    if order == 1:
        gradients = [tf.stop_gradient(g) for g in gradients]
    return rule.update(step, weights, gradients, rule_state)


def inner_loop(
    loss_function: LossFunction,
    weights: Sequence[tf.Tensor],
    *,
    rule: UpdateRule,
    inner_steps: int,
    order: int = 2,
) -> list[list[tf.Tensor]]:
    """The weights before and after each inner step (MAML, Finn et al. 2017, algorithm 1).

    Args:
        loss_function: the support loss (a scalar) as a function of the weights and the step.
        weights: the weights that the episode starts from.
        rule: how a gradient changes the weights.
        inner_steps: the number of steps.
        order: 1 or 2, see `inner_step`.

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
        moved, rule_state = inner_step(
            loss_function, path[-1], rule=rule, rule_state=rule_state, step=step, order=order
        )
        path.append(moved)
    return path
