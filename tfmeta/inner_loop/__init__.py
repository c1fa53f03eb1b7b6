"""Differentiable fine-tuning: weights in, weights out."""

from tfmeta.inner_loop.clipping import ClippedGradients, clip_by_norm
from tfmeta.inner_loop.coordinates import from_coordinates, to_coordinates
from tfmeta.inner_loop.draws import episode_draws, folded_seeds
from tfmeta.inner_loop.keras_optimizer import LSTMOptimizer
from tfmeta.inner_loop.learned_rules import LayerStepRates, MetaCurvature, MetaSGD
from tfmeta.inner_loop.loop import dense_gradients, inner_loop, inner_step, loss_gradients
from tfmeta.inner_loop.lstm_optimizer_rule import LSTMOptimizerRule
from tfmeta.inner_loop.meta_lstm_rule import MetaLSTMRule
from tfmeta.inner_loop.momentum_rules import Adam, Momentum, RMSprop
from tfmeta.inner_loop.selection import select_variables
from tfmeta.inner_loop.stateless import stateless_call
from tfmeta.inner_loop.update_rules import GradientDescent, UpdateRule, get_update_rule

__all__ = [
    "Adam",
    "ClippedGradients",
    "GradientDescent",
    "LSTMOptimizer",
    "LSTMOptimizerRule",
    "LayerStepRates",
    "MetaCurvature",
    "MetaLSTMRule",
    "MetaSGD",
    "Momentum",
    "RMSprop",
    "UpdateRule",
    "clip_by_norm",
    "dense_gradients",
    "episode_draws",
    "folded_seeds",
    "from_coordinates",
    "get_update_rule",
    "inner_loop",
    "inner_step",
    "loss_gradients",
    "select_variables",
    "stateless_call",
    "to_coordinates",
]
