"""Snapshot ensembles (Huang et al. 2017)."""

from __future__ import annotations

import math
from typing import Any

import keras

from tfmeta.transfer.ensembles import Ensemble


class SnapshotEnsemble(keras.callbacks.Callback):
    """The weights at the end of every cycle of the learning rate, for an ensemble from one `fit`.

    In each of `n_cycles` cycles of equal length the rate falls from its start to zero by a cosine:
    `rate / 2 (cos(pi t / T) + 1)`, t steps into a cycle of T (Huang et al. 2017, "Snapshot
    Ensembles: Train 1, Get M for Free", equation 2). Then the weights are kept and the rate jumps
    back. Where the number of steps of an epoch is not known, the rate moves once an epoch.
    Validation during `fit` is of the present weights.

    Args:
        n_cycles: how many snapshots are taken; at most the epochs of `fit`, which it divides.

    Attributes:
        snapshots: lists of weights, as `get_weights` gives them, in the order of the cycles.

    Raises:
        ValueError: when `fit` begins, for epochs that the cycles do not divide, or an optimizer
            whose learning rate is a schedule.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> model.compile(keras.optimizers.SGD(0.1), loss)
        >>> snapshots = SnapshotEnsemble(2)
        >>> x, y = np.ones((6, 2)), np.array([0, 1, 2] * 2)
        >>> history = model.fit(x, y, epochs=4, verbose=0, callbacks=[snapshots])
        >>> len(snapshots.ensemble().models)
        2
    """

    def __init__(self, n_cycles: int) -> None:
        super().__init__()
        if n_cycles < 1:
            raise ValueError(f"`n_cycles` must be at least 1. Received: n_cycles={n_cycles}.")
        self.n_cycles = n_cycles
        self.snapshots: list[list[Any]] = []

    def ensemble(self, *, last: int | None = None, **options: Any) -> Ensemble:
        """The snapshots as one classifier; each is a copy of the model.

        Args:
            last: how many of the last snapshots, which are the better ones; None for all.
            **options: arguments of `Ensemble`.

        Returns:
            An `Ensemble`.

        Raises:
            ValueError: before `fit` has ended a cycle.
        """
        if not self.snapshots:
            raise ValueError("`fit` must end a cycle first. Received: no snapshot.")
        chosen = self.snapshots[-last:] if last else self.snapshots
        return Ensemble([model_with(self.model, weights) for weights in chosen], **options)

    def on_train_begin(self, logs=None):
        epochs, self.snapshots = self.params["epochs"], []
        if epochs % self.n_cycles:
            raise ValueError(
                "`epochs` must be a multiple of the number of cycles. Received: "
                f"epochs={epochs}, n_cycles={self.n_cycles}. Change one of them."
            )
        rate = self.model.optimizer.get_config()["learning_rate"]
        if isinstance(rate, dict):
            raise ValueError(
                "The optimizer's learning rate must be a number, which the cycles begin with. "
                f"Received: the schedule {rate['class_name']}. Compile with its first rate."
            )
        self._rate, self._cycle = rate, epochs // self.n_cycles

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._set_rate(0.0)

    def on_train_batch_begin(self, batch, logs=None):
        if self.params["steps"]:
            self._set_rate(batch / self.params["steps"])

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self._cycle == 0:
            self.snapshots.append(self.model.get_weights())

    def on_train_end(self, logs=None):
        # A later `fit` begins with the rate that this one began with.
        self.model.optimizer.learning_rate = self._rate

    def _set_rate(self, part_of_epoch: float) -> None:
        progress = (self._epoch % self._cycle + part_of_epoch) / self._cycle
        cosine = math.cos(math.pi * progress)
        self.model.optimizer.learning_rate = 0.5 * self._rate * (cosine + 1.0)


def model_with(model: keras.Model, weights: list[Any]) -> keras.Model:
    """A copy of a model with other weights, not compiled.

    Args:
        model: a built model that can be made again from its config.
        weights: as `get_weights` gives them.

    Returns:
        A model.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> copy = model_with(model, [np.ones((2, 1)), np.zeros(1)])
        >>> float(copy(np.ones((1, 2)))[0, 0])
        2.0
    """
    copy = type(model).from_config(model.get_config())
    copy.set_weights(weights)
    return copy
