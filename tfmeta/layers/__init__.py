"""Keras layers: normalisation that is exact at second order, and calls with a task axis."""

from tfmeta.layers.exact import moving_statistics, use_exact_layers
from tfmeta.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    normalize_by,
)
from tfmeta.layers.task_axis import call_with_task_axis, layers_without_rule

__all__ = [
    "BatchNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "call_with_task_axis",
    "layers_without_rule",
    "moving_statistics",
    "normalize_by",
    "use_exact_layers",
]
