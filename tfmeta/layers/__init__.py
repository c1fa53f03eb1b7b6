"""Keras layers: normalisation that is exact at second order, and calls with a task axis."""

from tfmeta.layers.exact import moving_statistics, use_exact_layers
from tfmeta.layers.full_context import QueryContext, SupportContext
from tfmeta.layers.inputs import network_input
from tfmeta.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    normalize_by,
)
from tfmeta.layers.preprocessing import ApplicationPreprocessing
from tfmeta.layers.relation import RelationModule
from tfmeta.layers.set_attention import SetAttention
from tfmeta.layers.task_axis import call_with_task_axis, layers_without_rule

__all__ = [
    "ApplicationPreprocessing",
    "BatchNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "QueryContext",
    "RelationModule",
    "SetAttention",
    "SupportContext",
    "call_with_task_axis",
    "layers_without_rule",
    "moving_statistics",
    "network_input",
    "normalize_by",
    "use_exact_layers",
]
