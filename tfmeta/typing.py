"""Types that public signatures share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

Tensor: TypeAlias = tf.Tensor
"""A tensor; shapes stand in the docstrings."""

TensorLike: TypeAlias = tf.Tensor | np.ndarray | Sequence[Any] | float
"""Whatever `tf.convert_to_tensor` takes."""

State: TypeAlias = Any
"""What `adapt` returns and `predict_query` takes: a nest of tensors."""

Shape: TypeAlias = Sequence[int | None]
"""A static shape; `None` where a size is not known."""

EpisodeInputs: TypeAlias = Mapping[str, Tensor]
"""`support_x`, `support_y`, `query_x`, and where needed `support_mask` and `episode`."""

EpisodeBatch: TypeAlias = tuple[EpisodeInputs, Tensor] | tuple[EpisodeInputs, Tensor, Tensor]
"""`(inputs, query_y)` or `(inputs, query_y, sample_weight)`, with a leading task axis."""
