"""Learned optimisers (Andrychowicz et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmeta.errors import errors_as_value_errors, require
from tfmeta.inner_loop import LSTMOptimizer, LSTMOptimizerRule, UpdateRule, dense_gradients
from tfmeta.learners.optimizees import Optimizee, Weights
from tfmeta.prefetching import prefetched
from tfmeta.sizes import check_sizes

# Two parts with other seeds have no task in common, up to this many tasks.
_SEED_STRIDE = 10_000_000


@keras.saving.register_keras_serializable("tfmeta")
class LearnedOptimizer(keras.Model):
    """Learns an optimizer: an LSTM that lowers the losses of a family in few steps.

    `min_phi sum_t f(w_t)` with `w_{t+1} = w_t + g_t(grad f(w_t), phi)` (Andrychowicz et al. 2016,
    "Learning to learn by gradient descent by gradient descent", equation 3). Each batch of tasks is
    followed for `horizon` steps, and the LSTM is updated after every `unroll` of them
    (backpropagation through time, truncated there); the gradients that it reads count as given, as
    in the paper.

    Train it with `fit(optimization_tasks(...))`. Afterwards `update_rule` serves any inner loop,
    `MAML(network, update_rule=learned.update_rule)`, and `as_keras_optimizer()` any `compile`.
    The logs are `loss`, the mean over tasks and steps, and `final_loss`, after the last step.

    Args:
        optimizee: a family of losses, such as `tfmeta.learners.Quadratics`, or your own with
            `draw` and `losses`. It is not saved: a loaded optimizer has none to train on, until
            `learned.optimizee = ...`.
        update_rule: what is learned; None for an `LSTMOptimizerRule` of the paper's size.
        horizon: steps of every task.
        unroll: steps between two updates, a divisor of `horizon`.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for steps that are not positive, or not a multiple of `unroll`.

    Example:
        >>> learned = LearnedOptimizer(Quadratics(2), horizon=4, unroll=2)
        >>> learned.compile(keras.optimizers.Adam(0.01))
        >>> history = learned.fit(optimization_tasks(8, limit=16), verbose=0)
        >>> sorted(history.history)
        ['final_loss', 'loss']
    """

    def __init__(
        self,
        optimizee: Optimizee | None = None,
        *,
        update_rule: LSTMOptimizerRule | None = None,
        horizon: int = 100,
        unroll: int = 20,
        **kwargs: Any,
    ) -> None:
        check_sizes(horizon=horizon, unroll=unroll)
        if horizon % unroll:
            raise ValueError(
                "`horizon` must be a multiple of `unroll`. "
                f"Received: horizon={horizon}, unroll={unroll}."
            )
        super().__init__(**kwargs)
        self.optimizee: Any = optimizee
        self.update_rule = LSTMOptimizerRule() if update_rule is None else update_rule
        self.update_rule.create_weights()
        self.horizon = horizon
        self.unroll = unroll
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.final_tracker = keras.metrics.Mean(name="final_loss")
        self.built = True

    def compile(self, optimizer: Any = "adam", **kwargs: Any) -> None:
        """As `keras.Model.compile`, without a loss: that is the optimizee's.

        Args:
            optimizer: what trains the learned optimizer.
            **kwargs: other arguments of `keras.Model.compile`.
        """
        super().compile(optimizer, loss=None, **kwargs)
        self.optimizer.build(self.trainable_variables)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        # Keras skips this, and loses the optimizer's state, for a class that overrides `compile`.
        config = keras.saving.deserialize_keras_object(config)
        self.compile(**{k: v for k, v in config.items() if k != "loss"})

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`, on numbers of tasks: see `optimization_tasks`."""
        if self.optimizee is None:
            raise ValueError(
                "A learned optimizer is trained on an optimizee. Received: optimizee=None. Set "
                "`learned.optimizee = tfmeta.learners.Quadratics()`, or one of your own."
            )
        # Keras warns that it does not shuffle a dataset, though nobody asked it to.
        kwargs.setdefault("shuffle", False)
        with errors_as_value_errors():
            return super().fit(x, *args, **kwargs)

    def call(self, numbers: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The loss of every task before and after each step.

        Args:
            numbers: of the tasks, `[tasks]` integers.
            training: ignored; Keras passes it.

        Returns:
            `[tasks, horizon + 1]`.
        """
        weights, problem = self.optimizee.draw(tf.cast(numbers, "int64"))
        state, losses = self.update_rule.initial_state(weights), []
        for step in range(self.horizon):
            loss, weights, state = self._step(problem, weights, state, step)
            losses.append(loss)
        return tf.stack([*losses, self.optimizee.losses(weights, problem, self.horizon)], axis=1)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        weights, problem = self.optimizee.draw(tf.cast(_numbers(data), "int64"))
        state = self.update_rule.initial_state(weights)
        # One function of the graph, called once for every part of the horizon.
        segment = tf.function(self._segment, autograph=False)
        for start in range(0, self.horizon, self.unroll):
            losses, gradients, weights, state = segment(problem, weights, state, tf.constant(start))
            self.optimizer.apply(_finite(losses, gradients), self.trainable_variables)
            self.loss_tracker.update_state(losses)
        self.final_tracker.update_state(losses[-1])
        return self._logs()

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        losses = self(_numbers(data))
        self.loss_tracker.update_state(losses[:, 1:])
        self.final_tracker.update_state(losses[:, -1])
        return self._logs()

    def as_keras_optimizer(self, learning_rate: Any = 1.0, **kwargs: Any) -> LSTMOptimizer:
        """The learned optimizer for the `compile` of any Keras model.

        Args:
            learning_rate: factor of its steps, or a schedule.
            **kwargs: other arguments of `keras.optimizers.Optimizer`.

        Returns:
            A Keras optimizer that shares the weights of this one.
        """
        return LSTMOptimizer(self.update_rule, learning_rate, **kwargs)

    def _segment(self, problem: Any, weights: Weights, state: Any, start: tf.Tensor) -> Any:
        """`unroll` steps: the loss after each `[unroll]`, the gradient of their mean, the end."""
        losses = []
        with tf.GradientTape() as tape:
            for step in range(self.unroll):
                loss, weights, state = self._step(problem, weights, state, start + step)
                losses.append(loss)
            last = self.optimizee.losses(weights, problem, start + self.unroll)
            # The loss before the first step is no matter of these steps.
            of_steps = tf.reduce_mean(tf.stack([*losses[1:], last]), axis=1)
            loss = tf.reduce_mean(of_steps)
            # Keras' optimizers add the gradients of replicas up.
            loss /= tf.distribute.get_strategy().num_replicas_in_sync
        gradients = dense_gradients(tape, loss, [v.value for v in self.trainable_variables])
        return of_steps, gradients, weights, state

    def _step(self, problem: Any, weights: Weights, state: Any, step: Any) -> Any:
        loss, gradients = _losses_and_gradients(self.optimizee, problem, weights, step)
        gradients = [tf.stop_gradient(g) for g in gradients]
        # The rule is shared by all weights, so that those of all tasks are one long vector.
        return loss, *self.update_rule.update(step, weights, gradients, state)

    def _logs(self) -> dict[str, tf.Tensor]:
        return {m.name: m.result() for m in (self.loss_tracker, self.final_tracker)}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.loss_tracker, self.final_tracker]

    def get_config(self) -> dict[str, Any]:
        rule = keras.saving.serialize_keras_object(self.update_rule)
        config = {"update_rule": rule, "horizon": self.horizon, "unroll": self.unroll}
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> LearnedOptimizer:
        rule = config["update_rule"]
        rule = keras.saving.deserialize_keras_object(rule, custom_objects=custom_objects)
        return cls(**{**config, "update_rule": rule})


def optimization_tasks(n_tasks: int, *, seed: int = 0, limit: int | None = None) -> tf.data.Dataset:
    """Batches of numbers of tasks, each of which an optimizee turns into a loss.

    Args:
        n_tasks: tasks of a batch.
        seed: a non-negative integer; other seeds have other tasks.
        limit: how many tasks there are; None for no end.

    Returns:
        A dataset of `[tasks]` int64.

    Raises:
        ValueError: for counts that are not positive, or a negative seed.

    Example:
        >>> [batch.numpy().tolist() for batch in optimization_tasks(2, limit=4)]
        [[0, 1], [2, 3]]
    """
    check_sizes(n_tasks=n_tasks)
    if seed < 0:
        raise ValueError(f"`seed` must not be negative. Received: seed={seed}.")
    numbers = tf.data.Dataset.counter(seed * _SEED_STRIDE, dtype="int64")
    if limit is not None:
        check_sizes(limit=limit)
        numbers = numbers.take(limit)
    return prefetched(numbers.batch(n_tasks))


def optimization_curves(
    rule: UpdateRule, optimizee: Optimizee, numbers: Sequence[int], *, steps: int
) -> np.ndarray:
    """The losses of tasks on the way that an update rule goes.

    Args:
        rule: a learned rule, or one with fixed numbers such as `tfmeta.inner_loop.Adam`.
        optimizee: a family of losses.
        numbers: of the tasks, `[tasks]`.
        steps: how many steps.

    Returns:
        `[tasks, steps + 1]`, the losses before, between and after the steps.

    Example:
        >>> rule = tfmeta.inner_loop.GradientDescent(0.01)
        >>> optimization_curves(rule, Quadratics(2), range(3), steps=5).shape
        (3, 6)
    """
    weights, problem = optimizee.draw(tf.constant(list(numbers), "int64"))

    @tf.function(autograph=False)
    def one_step(weights: Weights, state: Any, step: tf.Tensor) -> Any:
        loss, gradients = _losses_and_gradients(optimizee, problem, weights, step)
        return loss, *rule.update(step, weights, gradients, state)

    state, losses = rule.initial_state(weights), []
    for step in range(steps):
        # Of the weights' dtype: some rules raise a number to its power.
        loss, weights, state = one_step(weights, state, tf.constant(step, weights[0].dtype))
        losses.append(loss.numpy())
    losses.append(optimizee.losses(weights, problem, tf.constant(steps)).numpy())
    return np.stack(losses, axis=1)


def _losses_and_gradients(
    optimizee: Optimizee, problem: Any, weights: Weights, step: Any
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """The loss of each task, and its gradient in the task's own weights."""
    with tf.GradientTape() as tape:
        tape.watch(weights)
        losses = optimizee.losses(weights, problem, step)
    return losses, dense_gradients(tape, losses, weights)


def _finite(losses: tf.Tensor, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """The gradients, once they and the losses are finite."""
    are_finite = [tf.reduce_all(tf.math.is_finite(x)) for x in (losses, *gradients)]
    return require(
        tf.reduce_all(tf.stack(are_finite)),
        "The loss or its gradient is not finite, and the optimizer is as it was before this "
        "update. Lower the learning rate, or set `clipnorm`. Received: losses of the steps =",
        [losses],
        gradients,
    )


def _numbers(data: Any) -> tf.Tensor:
    return keras.utils.unpack_x_y_sample_weight(data)[0]
