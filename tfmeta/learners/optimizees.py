"""Families of losses that an optimizer is trained to lower."""

from __future__ import annotations

import math
from typing import Any, Protocol

import keras
import tensorflow as tf

from tfmeta.functional import cross_entropy
from tfmeta.layers import call_with_task_axis, layers_without_rule
from tfmeta.sizes import check_sizes

Weights = list[tf.Tensor]


class Optimizee(Protocol):
    """A family of losses, one for each number: what is drawn depends on the number alone."""

    def draw(self, numbers: tf.Tensor) -> tuple[Weights, Any]:
        """The weights that each task begins with, and what its loss depends on.

        Args:
            numbers: of the tasks, `[tasks]` int64.

        Returns:
            A list of weights `[tasks, ...]`, and a nest of tensors.
        """

    def losses(self, weights: Weights, problem: Any, step: tf.Tensor) -> tf.Tensor:
        """The loss of each task, `[tasks]`.

        Args:
            weights: `[tasks, ...]`.
            problem: what `draw` returned.
            step: number of the step, a scalar; mini-batches depend on it.
        """


class Quadratics:
    """Random quadratics `|W w - y|^2` (Andrychowicz et al. 2016, section 3.1).

    `W`, `y` and the first `w` are drawn from a standard normal distribution.

    Args:
        size: numbers in `w`.

    Raises:
        ValueError: for a size that is not positive.

    Example:
        >>> family = Quadratics(3)
        >>> weights, problem = family.draw(tf.range(2, dtype="int64"))
        >>> family.losses(weights, problem, tf.constant(0)).shape
        TensorShape([2])
    """

    def __init__(self, size: int = 10) -> None:
        check_sizes(size=size)
        self.size = size

    def draw(self, numbers: tf.Tensor) -> tuple[Weights, Any]:
        """The first `w [tasks, size]`, and `W [tasks, size, size]` with `y [tasks, size]`."""
        matrix, target = _normal(numbers, 0, [self.size] * 2), _normal(numbers, 1, [self.size])
        return [_normal(numbers, 2, [self.size])], (matrix, target)

    def losses(self, weights: Weights, problem: Any, step: tf.Tensor) -> tf.Tensor:
        """`|W w - y|^2` of each task; all steps have the same."""
        matrix, target = problem
        residuals = tf.linalg.matvec(matrix, weights[0]) - target
        return tf.reduce_sum(tf.square(residuals), axis=1)


class NetworkTraining:
    """The training of one network on labelled examples, from first weights of its own each time.

    A task's loss is the mean cross-entropy of a mini-batch that is drawn anew for every step. Its
    first kernels are normal with variance `2 / (fan_in + fan_out)`, all other weights those of the
    network as it is given (Andrychowicz et al. 2016, section 3.2).

    Args:
        network: a built Keras model from an example to logits, without normalisation by the batch.
        x: examples `[n, ...]`, as the network takes them.
        y: class numbers `[n]`.
        batch_size: of a mini-batch.

    Raises:
        ValueError: for a layer that cannot carry a task axis, or arrays of unequal lengths.

    Example:
        >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> family = NetworkTraining(network, np.ones((8, 2)), np.zeros(8), batch_size=4)
        >>> weights, problem = family.draw(tf.range(5, dtype="int64"))
        >>> family.losses(weights, problem, tf.constant(0)).shape
        TensorShape([5])
    """

    def __init__(self, network: keras.Model, x: Any, y: Any, *, batch_size: int = 32) -> None:
        check_sizes(batch_size=batch_size)
        if len(x) != len(y):
            raise ValueError(f"`x` and `y` must be of one length. Received: {len(x)} and {len(y)}.")
        obstacles = layers_without_rule(network, network.trainable_variables)
        if obstacles:
            raise ValueError(
                f"These layers cannot be trained for many tasks at once: {obstacles}. Replace them."
            )
        self.network = network
        self.x = tf.constant(x, network.variable_dtype)
        self.y = tf.constant(y, "int32")
        self.batch_size = batch_size

    def draw(self, numbers: tf.Tensor) -> tuple[Weights, Any]:
        """The first weights of each task, and the seed of its mini-batches `[tasks]`."""
        variables = self.network.trainable_variables
        return [self._first(v, numbers, place) for place, v in enumerate(variables)], numbers

    def losses(self, weights: Weights, problem: Any, step: tf.Tensor) -> tf.Tensor:
        """The mean cross-entropy of each task's mini-batch."""
        step = tf.cast(step, "int64")

        def rows(number: tf.Tensor) -> tf.Tensor:
            return tf.random.stateless_uniform(
                [self.batch_size], tf.stack([number, step]), 0, len(self.x), "int32"
            )

        rows_of_tasks = tf.map_fn(rows, problem, fn_output_signature="int32")
        x, y = tf.gather(self.x, rows_of_tasks), tf.gather(self.y, rows_of_tasks)
        values = zip(self.network.trainable_variables, weights, strict=True)
        logits, _ = call_with_task_axis(self.network, x, values)
        return tf.vectorized_map(lambda task: cross_entropy(*task), (y, logits))

    def _first(self, variable: keras.Variable, numbers: tf.Tensor, place: int) -> tf.Tensor:
        shape = tuple(variable.shape)
        if len(shape) < 2:
            value = tf.convert_to_tensor(variable)
            return tf.broadcast_to(value, [tf.shape(numbers)[0], *shape])
        pixels = math.prod(shape[:-2])
        deviation = math.sqrt(2.0 / (pixels * (shape[-2] + shape[-1])))
        return deviation * tf.cast(_normal(numbers, place, shape), variable.dtype)


def _normal(numbers: tf.Tensor, what: int, shape: Any) -> tf.Tensor:
    """Standard normal draws of each task, `[tasks, *shape]`."""

    def draw(number: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_normal(shape, tf.stack([number, tf.cast(what, number.dtype)]))

    return tf.map_fn(draw, tf.cast(numbers, "int64"), fn_output_signature="float32")
