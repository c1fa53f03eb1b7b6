"""Reptile (Nichol, Achiam and Schulman 2018)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfmeta.inner_loop import UpdateRule
from tfmeta.inner_loop.selection import Selection
from tfmeta.learners import checks
from tfmeta.learners.engines import current_engine
from tfmeta.learners.episode import Episode, OuterStep
from tfmeta.learners.gradient_learner import GradientLearner
from tfmeta.sizes import check_sizes


@keras.saving.register_keras_serializable("tfmeta")
class Reptile(GradientLearner):
    """Moves the initial weights towards the weights that each task ends at.

    `w <- w + epsilon mean_T(w_T - w)` with `w_T` after `inner_steps` steps on task T (Nichol et al.
    2018, "On First-Order Meta-Learning Algorithms", algorithms 1 and 2). The outer loop is given
    `w - w_T` as the gradient, so that the paper's update is
    `compile(keras.optimizers.SGD(epsilon))`, serial with one task a step and batched with more.

    Training takes no query loss; the queries only give the logs. The support of a training episode
    may have more shots than that of a test episode (the paper's "train shots").

    Args:
        network: a built Keras model from an example to logits `[n_way]` or values `[d]`.
        update_rule: the inner learning rate, or a `tfmeta.inner_loop.UpdateRule` without learned
            numbers; the paper's is `tfmeta.inner_loop.Adam(beta_1=0.0)`.
        inner_steps: gradient steps while training.
        inner_batch_size: support examples of one inner step, all in turn; None for all at once.
        adapt: what the inner loop changes, see `MAML`. Other weights stay as they are.
        statistics: how queries are normalised, see `MAML`.
        evaluation_steps: gradient steps outside of training; None for `inner_steps`.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for an unbuilt network, outputs that are not vectors, steps below one, a learned
            update rule, or an unknown option.

    Example:
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> learner = Reptile(network, update_rule=0.1, inner_steps=5)
        >>> learner.compile(keras.optimizers.SGD(0.5))
    """

    order = 1

    def __init__(
        self,
        network: keras.Model,
        *,
        update_rule: float | UpdateRule = 0.01,
        inner_steps: int = 5,
        inner_batch_size: int | None = None,
        adapt: Selection = "all",
        statistics: str = "support",
        evaluation_steps: int | None = None,
        **kwargs: Any,
    ) -> None:
        if inner_batch_size is not None:
            check_sizes(inner_batch_size=inner_batch_size)
        super().__init__(
            network,
            update_rule=update_rule,
            inner_steps=inner_steps,
            adapt=adapt,
            statistics=statistics,
            evaluation_steps=evaluation_steps,
            **kwargs,
        )
        checks.check_fixed_rule(type(self).__name__, self.update_rule)
        self.inner_batch_size = inner_batch_size

    def outer_gradients(self, episode: Episode) -> OuterStep:
        x, y = self._support(*episode.support)
        path = self._weights_path(x, y, training=True, order=1)
        state = self._adapted(path[-1], x, step=self.inner_steps)
        outputs, moments = self.query_pass(state, episode.inputs["query_x"], training=True)
        loss = self._episode_loss(episode, outputs, training=True)
        moved = {
            id(v): start - end
            for v, start, end in zip(self._adapted_variables(), path[0], path[-1], strict=True)
        }
        gradients = tuple(
            moved[id(v)] if id(v) in moved else tf.zeros_like(tensor)
            for v, tensor in zip(self.trainable_variables, self._trainable_tensors(), strict=True)
        )
        return OuterStep(outputs, loss, gradients, moments, path)

    def _inner_loss(self, weights, start, x, y, *, step):
        if self.inner_batch_size is None:
            return self._support_loss(weights, x, y)
        axis = current_engine().axis
        rows = batch_rows(tf.shape(x)[axis], self.inner_batch_size, step)
        batch = (tf.gather(t, rows, axis=axis) for t in (x, y))
        return self._support_loss(weights, *batch)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "inner_batch_size": self.inner_batch_size}


def batch_rows(n: tf.Tensor, batch_size: int, step: int) -> tf.Tensor:
    """Rows of the mini-batch of one inner step: every pass over `n` rows has an order of its own.

    Args:
        n: how many rows there are, a scalar int32.
        batch_size: rows of a batch.
        step: number of the inner step.

    Returns:
        `[min(batch_size, n)]` int32. Where `batch_size` does not divide `n`, a pass ends in the
        middle of a batch, and the next one begins there.

    Example:
        >>> rows = [batch_rows(4, 2, step) for step in (0, 1)]
        >>> sorted(tf.concat(rows, axis=0).numpy().tolist())
        [0, 1, 2, 3]
    """
    batch_size = tf.minimum(batch_size, n)
    positions = step * batch_size + tf.range(batch_size)
    first = positions[0] // n
    orders = tf.concat([_order(n, first), _order(n, first + 1)], axis=0)
    return tf.gather(orders, positions - first * n)


def _order(n: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    # The same for all tasks: which class has which rows is drawn anew for each anyway.
    return tf.argsort(tf.random.stateless_uniform([n], seed=tf.stack([number, 0])))
