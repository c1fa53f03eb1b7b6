"""Update rules with a memory of earlier gradients: momentum, RMSprop, Adam.

Each is differentiable in the weights, the gradients and its state. Epsilon is added under the root
and not to it: a gradient that is exactly zero (a dead ReLU) has an infinite derivative of its root,
and the meta-gradient would be NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmeta.inner_loop.update_rules import UpdateRule, check_rate

Weights = Sequence[tf.Tensor]


@keras.saving.register_keras_serializable("tfmeta")
class Momentum(UpdateRule):
    """Gradient descent with momentum: `v <- momentum v + g`, `w <- w - rate v` (Polyak 1964).

    Args:
        learning_rate: the inner rate, positive.
        momentum: in `[0, 1)`.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Raises:
        ValueError: for a number out of range.

    Example:
        >>> rule = Momentum(0.1, momentum=0.5)
        >>> weights, velocity = [tf.constant(1.0)], rule.initial_state([tf.constant(1.0)])
        >>> for step in range(2):
        ...     weights, velocity = rule.update(step, weights, [tf.constant(1.0)], velocity)
        >>> round(float(weights[0]), 3)
        0.75
    """

    def __init__(
        self, learning_rate: float = 0.01, *, momentum: float = 0.9, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.learning_rate = check_rate(learning_rate)
        self.momentum = _check_decay("momentum", momentum)

    def initial_state(self, weights):
        return [tf.zeros_like(w) for w in weights]

    def update(self, step, weights, gradients, state):
        velocity = [self.momentum * v + g for v, g in zip(state, gradients, strict=True)]
        moved = [w - self.learning_rate * v for w, v in zip(weights, velocity, strict=True)]
        return moved, velocity

    def get_config(self) -> dict[str, Any]:
        config = {"learning_rate": self.learning_rate, "momentum": self.momentum}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("tfmeta")
class RMSprop(UpdateRule):
    """`s <- rho s + (1 - rho) g^2`, `w <- w - rate g / sqrt(s + epsilon)` (Hinton 2012).

    Args:
        learning_rate: the inner rate, positive.
        rho: in `[0, 1)`.
        epsilon: positive, under the root.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Raises:
        ValueError: for a number out of range.

    Example:
        >>> rule = RMSprop(0.1, rho=0.75, epsilon=1e-12)
        >>> weights, _ = rule.update(0, [tf.constant(1.0)], [tf.constant(4.0)], [tf.constant(0.0)])
        >>> round(float(weights[0]), 3)
        0.8
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        *,
        rho: float = 0.9,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.learning_rate = check_rate(learning_rate)
        self.rho = _check_decay("rho", rho)
        self.epsilon = check_rate(epsilon, name="epsilon")

    def initial_state(self, weights):
        return [tf.zeros_like(w) for w in weights]

    def update(self, step, weights, gradients, state):
        squares = [
            self.rho * s + (1.0 - self.rho) * tf.square(g)
            for s, g in zip(state, gradients, strict=True)
        ]
        moved = [
            w - self.learning_rate * g * tf.math.rsqrt(s + self.epsilon)
            for w, g, s in zip(weights, gradients, squares, strict=True)
        ]
        return moved, squares

    def get_config(self) -> dict[str, Any]:
        config = {"learning_rate": self.learning_rate, "rho": self.rho, "epsilon": self.epsilon}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("tfmeta")
class Adam(UpdateRule):
    """`w <- w - rate m / sqrt(v + epsilon)` with unbiased moments `m`, `v` (Kingma and Ba 2015).

    Args:
        learning_rate: the inner rate, positive.
        beta_1: decay of the mean, in `[0, 1)`.
        beta_2: decay of the squares, in `[0, 1)`.
        epsilon: positive, under the root.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Raises:
        ValueError: for a number out of range.

    Example:
        >>> rule = Adam(0.1)
        >>> weights = [tf.constant(1.0)]
        >>> moved, _ = rule.update(0, weights, [tf.constant(4.0)], rule.initial_state(weights))
        >>> round(float(moved[0]), 3)
        0.9
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.learning_rate = check_rate(learning_rate)
        self.beta_1 = _check_decay("beta_1", beta_1)
        self.beta_2 = _check_decay("beta_2", beta_2)
        self.epsilon = check_rate(epsilon, name="epsilon")

    def initial_state(self, weights):
        return [(tf.zeros_like(w), tf.zeros_like(w)) for w in weights]

    def update(self, step, weights, gradients, state):
        pairs = zip(weights, gradients, state, strict=True)
        updates = [self._update_one(step, w, g, *moments) for w, g, moments in pairs]
        return [w for w, _ in updates], [moments for _, moments in updates]

    def _update_one(self, step, w, g, mean, square):
        mean = self.beta_1 * mean + (1.0 - self.beta_1) * g
        square = self.beta_2 * square + (1.0 - self.beta_2) * tf.square(g)
        unbiased_mean = mean / (1.0 - self.beta_1 ** (step + 1))
        unbiased_square = square / (1.0 - self.beta_2 ** (step + 1))
        direction = unbiased_mean * tf.math.rsqrt(unbiased_square + self.epsilon)
        return w - self.learning_rate * direction, (mean, square)

    def get_config(self) -> dict[str, Any]:
        names = ("learning_rate", "beta_1", "beta_2", "epsilon")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _check_decay(name: str, value: float) -> float:
    if not 0.0 <= value < 1.0:
        raise ValueError(f"`{name}` must be at least 0 and below 1. Received: {name}={value}.")
    return float(value)
