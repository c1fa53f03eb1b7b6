"""Differentiable fine-tuning: weights in, weights out."""

from tfmeta.inner_loop.loop import inner_loop, inner_step
from tfmeta.inner_loop.selection import select_variables
from tfmeta.inner_loop.stateless import episode_draws, stateless_call
from tfmeta.inner_loop.update_rules import GradientDescent, UpdateRule, get_update_rule

__all__ = [
    "GradientDescent",
    "UpdateRule",
    "episode_draws",
    "get_update_rule",
    "inner_loop",
    "inner_step",
    "select_variables",
    "stateless_call",
]
