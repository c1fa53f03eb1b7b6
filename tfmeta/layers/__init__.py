"""Keras layers: normalisation that is exact at second order."""

from tfmeta.layers.exact import moving_statistics, use_exact_layers
from tfmeta.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    normalize_by,
)

__all__ = [
    "BatchNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "moving_statistics",
    "normalize_by",
    "use_exact_layers",
]
