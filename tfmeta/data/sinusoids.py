"""Sinusoid regression of the MAML paper: tasks that are drawn, not stored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import tensorflow as tf

from tfmeta.data.sampler import random_bits, random_uniform


@dataclass(frozen=True)
class Sinusoids:
    """Family of tasks `y = amplitude * sin(x - phase)`; made by `sinusoids`.

    Attributes:
        amplitude: `(low, high)` of the uniform amplitude.
        phase: `(low, high)` of the uniform phase.
        x: `(low, high)` of the uniform inputs.
    """

    amplitude: tuple[float, float]
    phase: tuple[float, float]
    x: tuple[float, float]

    def sample(
        self, seed: int, episodes: tf.Tensor, n_shot: int, n_query: int
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Support and query of the episodes with the given numbers.

        Args:
            seed: Any integer.
            episodes: Episode numbers `[tasks]` int64.
            n_shot: Support points.
            n_query: Query points.

        Returns:
            `(support_x, support_y, query_x, query_y)`, float32 `[tasks, n_shot, 1]` twice and
            `[tasks, n_query, 1]` twice.
        """
        bits = random_bits(seed, episodes, 2 + n_shot + n_query)
        amplitude, phase = self._parameters(bits)
        x = random_uniform(bits[:, 2:, None], *self.x)
        y = sinusoid(x, amplitude[:, None, None], phase[:, None, None])
        # In float32 the last bit of a sine depends on its place in the vector, hence on `n_tasks`.
        x, y = tf.cast(x, tf.float32), tf.cast(y, tf.float32)
        return x[:, :n_shot], y[:, :n_shot], x[:, n_shot:], y[:, n_shot:]

    def parameters(self, seed: int, episodes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Amplitude and phase, float32 `[tasks]` each, of the episodes with the given numbers."""
        amplitude, phase = self._parameters(random_bits(seed, episodes, 2))
        return tf.cast(amplitude, tf.float32), tf.cast(phase, tf.float32)

    def _parameters(self, bits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        amplitude = random_uniform(bits[:, 0], *self.amplitude)
        return amplitude, random_uniform(bits[:, 1], *self.phase)


def sinusoid(x: tf.Tensor, amplitude: tf.Tensor, phase: tf.Tensor) -> tf.Tensor:
    """`amplitude * sin(x - phase)`, of the shape that the arguments broadcast to."""
    return amplitude * tf.sin(x - phase)


def sinusoids(
    amplitude: tuple[float, float] = (0.1, 5.0),
    phase: tuple[float, float] = (0.0, math.pi),
    x: tuple[float, float] = (-5.0, 5.0),
) -> Sinusoids:
    """Family of sinusoid tasks for `episode_dataset`.

    A task is a curve `y = A sin(x - p)` with `A` and `p` uniform, seen at `n_shot` uniform points:
    Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks"
    (2017), section 5.1, with the sign of the phase as in the authors' code.

    Args:
        amplitude: `(low, high)`.
        phase: `(low, high)`, in radians.
        x: `(low, high)`.

    Returns:
        A task family; its `sample` gives float32 `[tasks, points, 1]`.

    Raises:
        ValueError: a range is not two rising finite numbers.

    Example:
        >>> inputs, query_y = next(iter(episode_dataset(sinusoids(), n_shot=10, n_query=10)))
        >>> inputs["support_x"].shape
        TensorShape([1, 10, 1])
    """
    for name, bounds in (("amplitude", amplitude), ("phase", phase), ("x", x)):
        rising = len(bounds) == 2 and bounds[0] < bounds[1]
        if not rising or not all(math.isfinite(bound) for bound in bounds):
            raise ValueError(
                f"`{name}` must be (low, high) with low < high, both finite. "
                f"Received: {name}={bounds!r}."
            )
    return Sinusoids(amplitude, phase, x)
