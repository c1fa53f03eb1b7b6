"""Averages of the weights that `fit` goes through, as callbacks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmeta.layers import use_exact_layers
from tfmeta.transfer.recalibration import recalibrate


class WeightAveraging(keras.callbacks.Callback):
    """A model whose weights are an average when `fit` ends; the base of `SWA` and `EMA`.

    Every float weight is averaged, frozen ones (which stay bit for bit) and moving statistics
    among them; integers, states of random seeds and the optimizer are not. The mean of moving
    statistics is not what averaged weights see: with `recalibrate_on` they are recomputed (see
    `recalibrate`) in the model's `backbone`, or in the model where it has none. Its stock
    normalisation layers are then made exact in place.

    The validation of each epoch is of the averaged weights as they are by then, recalibrated too,
    unless `validate="raw"`; training, and callbacks that save the model, go on with the raw ones.
    A `fit` that is interrupted leaves the raw ones. Put it behind callbacks that change weights.

    Args:
        recalibrate_on: batches of inputs, or of `(inputs, ...)`, that can be gone through again.
        steps: how many of them; None for all.
        validate: `"averaged"` or `"raw"`.

    Attributes:
        raw_weights: after `fit`, the last weights without averaging, as `set_weights` takes them.
        n_averaged: how many times weights have gone into the average.

    Raises:
        ValueError: for another `validate`.
    """

    def __init__(
        self,
        *,
        recalibrate_on: Any = None,
        steps: int | None = None,
        validate: str = "averaged",
    ) -> None:
        super().__init__()
        if validate not in ("averaged", "raw"):
            raise ValueError(
                f'`validate` must be "averaged" or "raw". Received: validate={validate!r}.'
            )
        self.recalibrate_on, self.steps, self.validate = recalibrate_on, steps, validate
        self.raw_weights: list[np.ndarray] | None = None
        self.n_averaged = 0
        self._is_training = False

    def average_in(self, rate: float) -> None:
        """Moves the average to the present weights: `average += rate (weights - average)`.

        Args:
            rate: between 0 and 1; the first weights are taken whole.
        """
        weights = [v.value for v in self._variables]
        if not self.n_averaged:
            self._average = [tf.convert_to_tensor(w) for w in weights]
        else:
            self._average = self._moved(self._average, tf.constant(rate))
        self.n_averaged += 1

    def on_train_begin(self, logs=None):
        weights = self.model.weights
        self._variables = [v for v in weights if tf.as_dtype(v.dtype).is_floating]
        self.n_averaged, self._is_training = 0, True

        @tf.function(autograph=False)
        def moved(average: list[tf.Tensor], rate: tf.Tensor) -> list[tf.Tensor]:
            pairs = zip(average, self._variables, strict=True)
            return [a + tf.cast(rate, a.dtype) * (v.value - a) for a, v in pairs]

        self._moved = moved

    def on_test_begin(self, logs=None):
        if self._is_training and self.validate == "averaged" and self.n_averaged:
            self._use_average()

    def on_test_end(self, logs=None):
        if self._is_training and self.validate == "averaged" and self.n_averaged:
            self.model.set_weights(self.raw_weights)

    def on_train_end(self, logs=None):
        self._is_training = False
        if self.n_averaged:
            self._use_average()

    def _use_average(self) -> None:
        self.raw_weights = self.model.get_weights()
        for variable, value in zip(self._variables, self._average, strict=True):
            variable.assign(value)
        if self.recalibrate_on is not None:
            network = getattr(self.model, "backbone", self.model)
            use_exact_layers(network)
            recalibrate(network, self.recalibrate_on, steps=self.steps)


class SWA(WeightAveraging):
    """Stochastic weight averaging: the equal mean of the weights at the ends of epochs.

    `w_SWA = (1 / n) sum_k w_k` over the epochs from `start_epoch` on (Izmailov et al. 2018,
    "Averaging Weights Leads to Wider Optima and Better Generalization", algorithm 1). The paper's
    learning rate is constant, or cyclic with one cycle an epoch, and high.

    Args:
        start_epoch: the first epoch, from 0, whose last weights go in.
        **kwargs: arguments of `WeightAveraging`, of which `recalibrate_on` matters for batch
            normalisation.

    Raises:
        ValueError: when `fit` begins and has no such epoch.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> swa = SWA(start_epoch=1)
        >>> history = model.fit(
        ...     np.ones((4, 2)), np.ones(4), epochs=3, verbose=0, callbacks=[swa])
        >>> swa.n_averaged
        2
    """

    def __init__(self, *, start_epoch: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start_epoch = start_epoch

    def on_train_begin(self, logs=None):
        epochs = self.params["epochs"]
        if not 0 <= self.start_epoch < epochs:
            raise ValueError(
                "`start_epoch` must be an epoch of `fit`, 0 ... epochs - 1. Received: "
                f"start_epoch={self.start_epoch}, epochs={epochs}. Train longer or begin sooner."
            )
        super().on_train_begin(logs)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._has_epoch = epoch, False

    def on_test_begin(self, logs=None):
        # Validation comes before the end of the epoch, and its average has the epoch's weights.
        if self._is_training:
            self._take_epoch()
        super().on_test_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        self._take_epoch()

    def _take_epoch(self) -> None:
        if self._epoch >= self.start_epoch and not self._has_epoch:
            self.average_in(1.0 / (self.n_averaged + 1))
            self._has_epoch = True


class EMA(WeightAveraging):
    """The exponential moving average of the weights over the steps of training.

    `average <- decay average + (1 - decay) w` after every step, from the weights after the first
    one on (Polyak and Juditsky 1992 take the equal mean). Keras has one in its optimizers
    (`use_ema=True`) with `keras.callbacks.SwapEMAWeights`; that one runs inside the train step,
    loses the raw weights when `fit` ends, fails where a part of the model is frozen in stages,
    and does not recalibrate. With `steps_per_execution=k` the weights are seen every k steps, and
    the decay is that of the steps that have gone by.

    Args:
        decay: in `[0, 1)`; the average looks back about `1 / (1 - decay)` steps.
        **kwargs: arguments of `WeightAveraging`.

    Raises:
        ValueError: for another decay, or an optimizer that has an average of its own.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> ema = EMA(0.9)
        >>> history = model.fit(
        ...     np.ones((4, 2)), np.ones(4), batch_size=1, verbose=0, callbacks=[ema])
        >>> ema.n_averaged
        4
    """

    def __init__(self, decay: float = 0.999, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"`decay` must be in [0, 1). Received: decay={decay}.")
        self.decay = decay

    def on_train_begin(self, logs=None):
        if getattr(self.model.optimizer, "use_ema", False):
            raise ValueError(
                "Weights are averaged by the optimizer or by `EMA`, not by both. Received: an "
                "optimizer with use_ema=True. Compile without it, or leave `EMA` out."
            )
        super().on_train_begin(logs)

    def on_epoch_begin(self, epoch, logs=None):
        self._last_step = -1

    def on_train_batch_end(self, batch, logs=None):
        n_steps, self._last_step = batch - self._last_step, batch
        self.average_in(1.0 - self.decay**n_steps)
