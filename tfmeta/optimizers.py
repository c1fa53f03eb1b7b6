"""The optimizer of the recipes."""

from __future__ import annotations

from typing import Any

import keras


def cosine_adam(learning_rate: float, steps: int, **kwargs: Any) -> keras.optimizers.Adam:
    """Adam whose learning rate falls to zero by a cosine (Loshchilov and Hutter 2017).

    Args:
        learning_rate: the first one.
        steps: after which it is zero.
        **kwargs: arguments of `keras.optimizers.Adam`.

    Returns:
        A new optimizer.

    Example:
        >>> round(float(cosine_adam(1e-3, steps=100).learning_rate), 6)
        0.001
    """
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    return keras.optimizers.Adam(rate, **kwargs)
