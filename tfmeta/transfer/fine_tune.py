"""Fine-tuning: a pretrained backbone under a new head, trained by `fit` in stages."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfmeta.layers import network_input, normalize_by
from tfmeta.prefetching import prefetched
from tfmeta.transfer.classifier import BackboneClassifier
from tfmeta.transfer.labels import check_labels
from tfmeta.transfer.recalibration import recalibrate
from tfmeta.transfer.trained_layers import layers_say_what_trains
from tfmeta.transfer.weights import layers_with_weights

BATCH_NORMS = ("frozen", "batch", "recalibrated")
_LOGGER = logging.getLogger("tfmeta")


class Stage(NamedTuple):
    """What trains for how many epochs of one `fit`.

    Attributes:
        train: `"head"`, `"body"`, `"all"`, or a regular expression that is searched in the paths
            of variables.
        epochs: how many; the last stage goes on to the end of `fit`.
    """

    train: str
    epochs: int


@keras.saving.register_keras_serializable("tfmeta")
class FineTune(BackboneClassifier):
    """A pretrained backbone under a new head, as a classifier that trains by `fit`.

    Full fine-tuning, a part of it (`train=`), or gradual unfreezing in stages inside one `fit`
    (Howard and Ruder 2018, "Universal Language Model Fine-tuning"). What does not train stays bit
    for bit as it was. With `rate_decay` a layer that is `d` layers below the head moves by
    `rate_decay ** d` of what the optimizer, any optimizer, would move it. With `l2_sp` the loss
    has `l2_sp / 2 * |w - w_0|^2` of the backbone's weights and their pretrained values (Li et al.
    2018, "Explicit Inductive Bias for Transfer Learning").

    Args:
        backbone: a built Keras model from examples to features `[batch, features]`.
        head: the number of classes, for a linear head; or a Keras layer from features to outputs.
        train: what trains, as in `Stage`; ignored with `stages`.
        stages: pairs `(train, epochs)`; `fit` takes their sum unless it is given `epochs`.
        rate_decay: factor of the learning rate from one layer to the next below.
        batch_norm: `"frozen"`: by the pretrained moving averages, in training too; `"batch"`: by
            the batch, and moving averages go on moving; `"recalibrated"`: as that, and after `fit`
            they are the statistics of the training data.
        l2_sp: weight of the pull towards the pretrained weights.
        **kwargs: `name` and other arguments of `keras.Model`.

    Raises:
        ValueError: for an unbuilt backbone, a selection that matches nothing, stages that never
            train the head, or an unknown option.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
        >>> model = FineTune(backbone, 3, stages=[("head", 1), ("all", 1)])
        >>> model.compile("adam", metrics=["accuracy"])
        >>> history = model.fit(np.ones((6, 2)), np.array([0, 1, 2] * 2), verbose=0)
        >>> len(history.epoch)
        2
    """

    def __init__(
        self,
        backbone: keras.Model,
        head: int | keras.layers.Layer,
        *,
        train: str = "all",
        stages: Sequence[tuple[str, int]] | None = None,
        rate_decay: float = 1.0,
        batch_norm: str = "frozen",
        l2_sp: float = 0.0,
        **kwargs: Any,
    ) -> None:
        _check(rate_decay, batch_norm, l2_sp)
        super().__init__(backbone, head, **kwargs)
        self.train = train
        self.stages = None if stages is None else tuple(Stage(*stage) for stage in stages)
        self.rate_decay = rate_decay
        self.batch_norm = batch_norm
        self.l2_sp = l2_sp
        self._takes_features = self._gives_features = False
        self._feature_function = None
        # What may train: what the user has frozen in the backbone stays frozen.
        self._candidates = tuple(self.trainable_variables)
        self._pretrained = tuple(
            keras.Variable(v, trainable=False, name=f"pretrained_{i}")
            for i, v in enumerate(backbone.trainable_variables if l2_sp else ())
        )
        self._factors = self._rate_factors()
        self._check_stages()
        self.use_stage(0)

    # ----- one batch ------------------------------------------------------------------------

    def call(self, inputs, training=False):
        features = inputs
        if not self._takes_features:
            moves = training and self.batch_norm != "frozen"
            with normalize_by("update" if moves else "moving"):
                features = self.backbone(network_input(self.backbone, inputs), training=training)
        return features if self._gives_features else self.head(features, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The compiled loss, by default the cross-entropy of logits, and the pull of `l2_sp`."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training=training)
        return loss + self._pull() if self.l2_sp and training else loss

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            outputs = self(x, training=True)
            loss = self.compute_loss(x, y, outputs, sample_weight, training=True)
        gradients = tape.gradient(loss, [v.value for v in variables])
        loss = self._step(loss, gradients, variables)
        self._track_loss(loss, outputs)
        return self.compute_metrics(x, y, outputs, sample_weight)

    def _apply(self, gradients: Sequence[Any], variables: Sequence[keras.Variable]) -> None:
        """A step of the optimizer, of which slowed variables keep only their factor."""
        slowed = [(v, self._factors[id(v)]) for v in variables if self._factors[id(v)] != 1.0]
        before = [tf.identity(v.value) for v, _ in slowed]
        with tf.control_dependencies(before):
            self.optimizer.apply(gradients, variables)
        for (variable, factor), old in zip(slowed, before, strict=True):
            # The step is scaled, not the gradient, which Adam and its kin would scale back.
            variable.assign(old + factor * (variable - old))

    def _pull(self) -> tf.Tensor:
        """`l2_sp / 2 * |w - w_0|^2`."""
        pairs = zip(self._backbone_variables(), self._pretrained, strict=True)
        squares = [tf.reduce_sum(tf.square(w.value - start.value)) for w, start in pairs]
        return 0.5 * self.l2_sp * tf.add_n(squares)

    # ----- stages ---------------------------------------------------------------------------

    def fit(self, x: Any = None, y: Any = None, *, epochs: int | None = None, **kwargs: Any):
        """As `keras.Model.fit`; `epochs` is by default the sum of the stages', or one.

        Args:
            x: as in Keras.
            y: as in Keras.
            epochs: the number of the last epoch.
            **kwargs: other arguments of `keras.Model.fit`.

        Returns:
            The history.

        Raises:
            ValueError: for fewer epochs than the stages before the last one take, a class of the
                head without examples (where `y` is given), or a loss that is not finite; the
                weights are then those of the last good step.
        """
        lengths = [stage.epochs for stage in self.stages or (Stage(self.train, 1),)]
        epochs = sum(lengths) if epochs is None else epochs
        if epochs <= sum(lengths[:-1]):
            raise ValueError(
                f"`epochs` must reach the last stage, which begins after {sum(lengths[:-1])}. "
                f"Received: epochs={epochs}. Raise `epochs` or shorten the stages."
            )
        self._check_labels(y)
        self._build_optimizer()
        self.use_stage(self._stage_at(kwargs.get("initial_epoch", 0)))
        callbacks = [_NextStage(), *_as_list(kwargs.pop("callbacks", None))]
        history = super().fit(x, y, epochs=epochs, callbacks=callbacks, **kwargs)
        if self.batch_norm == "recalibrated":
            batches = x if y is None else _batches(x, kwargs.get("batch_size"))
            recalibrate(self.backbone, batches, steps=kwargs.get("steps_per_epoch"))
        return history

    def fit_on_features(
        self, x: Any, y: Any, *, validation_data: tuple[Any, Any] | None = None, **kwargs: Any
    ) -> keras.callbacks.History:
        """Trains the head alone on features that are computed once, whatever the epochs.

        Args:
            x: examples `[n, ...]`.
            y: targets `[n, ...]`.
            validation_data: examples and targets.
            **kwargs: other arguments of `keras.Model.fit`.

        Returns:
            The history.

        Example:
            >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
            >>> model = FineTune(backbone, 3, train="head")
            >>> model.compile("adam")
            >>> history = model.fit_on_features(
            ...     np.ones((6, 2)), np.array([0, 1, 2] * 2), epochs=5, verbose=0)
        """
        self._check_labels(y)
        batch_size = {"batch_size": kwargs.get("batch_size")}
        if validation_data is not None:
            validation_data = (self.features(validation_data[0], **batch_size), validation_data[1])
        features = self.features(x, **batch_size)
        self._build_optimizer()
        before = self._trained
        self._train_only(self._chosen("head"))
        try:
            with self._taking_features():
                return super().fit(features, y, validation_data=validation_data, **kwargs)
        finally:
            self._train_only(before)

    def features(self, x: Any, **kwargs: Any) -> np.ndarray:
        """Features of examples, by one pass of the backbone.

        Args:
            x: as in `predict`.
            **kwargs: other arguments of `keras.Model.predict`.

        Returns:
            `[n, features]`.
        """
        with self._giving_features():
            return self.predict(x, **{"verbose": 0, **kwargs})

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.compile`."""
        super().compile(*args, **kwargs)
        self._feature_function = None

    def summary(self, **kwargs: Any) -> None:
        """Prints Keras' summary, with what trains in the stage that is on, layer by layer.

        Args:
            **kwargs: arguments of `keras.Model.summary`; lines are 80 characters long, because
                Keras cuts what a terminal has no room for, the last column first.

        Example:
            >>> layers = [keras.Input((2,)), keras.layers.Dense(4, name="body")]
            >>> FineTune(keras.Sequential(layers), 3, train="head").summary()
        """
        with layers_say_what_trains(self):
            shown = {"line_length": 80, "expand_nested": True, "show_trainable": True}
            super().summary(**{**shown, **kwargs})

    def use_stage(self, number: int) -> None:
        """Freezes all but what trains in a stage.

        Args:
            number: of the stage, from 0.
        """
        train = self.stages[number].train if self.stages else self.train
        self._train_only(self._chosen(train))
        self._stage = number
        n_weights = sum(int(np.prod(v.shape)) for v in self._trained)
        _LOGGER.info("%s: stage %d, %r: %d weights train.", self.name, number, train, n_weights)

    def _stage_at(self, epoch: int) -> int:
        ends = np.cumsum([stage.epochs for stage in self.stages or ()])
        return min(int(np.searchsorted(ends, epoch, side="right")), max(len(ends) - 1, 0))

    def _train_only(self, chosen: Sequence[keras.Variable]) -> None:
        ids = {id(v) for v in chosen}
        for variable in self._candidates:
            variable.trainable = id(variable) in ids
        self._trained = tuple(chosen)
        if self.compiled:
            # What trains is read when a step is traced.
            self.make_train_function(force=True)

    def _chosen(self, train: str) -> list[keras.Variable]:
        head = {id(v) for v in self.head.variables}

        def selects(variable: keras.Variable) -> bool:
            if train in ("head", "body"):
                return (id(variable) in head) == (train == "head")
            return train == "all" or re.search(train, variable.path) is not None

        chosen = [v for v in self._candidates if selects(v)]
        if not chosen:
            raise ValueError(
                "`train` must select at least one trainable variable. Received: "
                f"train={train!r}. The model has {[v.path for v in self._candidates]}."
            )
        return chosen

    def _check_stages(self) -> None:
        if self.stages is None:
            return
        if not self.stages or min(stage.epochs for stage in self.stages) < 1:
            raise ValueError(
                "`stages` must be pairs (train, epochs) with at least one epoch each. Received: "
                f"stages={[tuple(stage) for stage in self.stages]}."
            )
        head = {id(v) for v in self._chosen("head")}
        trained = {id(v) for stage in self.stages for v in self._chosen(stage.train)}
        if not head & trained:
            raise ValueError(
                "`stages` must train the head, which starts from random weights, in one of them. "
                f"Received: {[stage.train for stage in self.stages]}. Begin with ('head', epochs)."
            )

    # ----- parts ----------------------------------------------------------------------------

    def _check_labels(self, y: Any) -> None:
        is_sparse = isinstance(self.loss, keras.losses.SparseCategoricalCrossentropy)
        if y is not None and (self.loss is None or is_sparse):
            check_labels(y, self.head.compute_output_shape(self.backbone.output_shape)[-1])

    def _rate_factors(self) -> dict[int, float]:
        """The factor of every variable that may train, by its id."""
        factors = {id(v): 1.0 for v in self._candidates}
        layers = [lay for lay in layers_with_weights(self.backbone).values() if lay.trainable]
        for depth, layer in enumerate(reversed(layers), start=1):
            factors.update({id(v): self.rate_decay**depth for v in layer.variables})
        return factors

    def _backbone_variables(self) -> list[keras.Variable]:
        own = {id(v) for v in self.backbone.variables}
        return [v for v in self._candidates if id(v) in own]

    def _build_optimizer(self) -> None:
        """Slots for all that may train, so that a later stage finds its own."""
        if self.compiled and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self._candidates)

    @contextlib.contextmanager
    def _giving_features(self) -> Iterator[None]:
        """Scope in which `call` gives features, by a function of `predict` that is kept."""
        self.predict_function, kept = self._feature_function, self.predict_function
        self._gives_features = True
        try:
            yield
        finally:
            self._gives_features = False
            self.predict_function, self._feature_function = kept, self.predict_function

    @contextlib.contextmanager
    def _taking_features(self) -> Iterator[None]:
        """Scope in which `call` takes features; what `fit` calls is traced anew."""
        self._takes_features = True
        self._forget_functions()
        try:
            yield
        finally:
            self._takes_features = False
            self._forget_functions()

    def _forget_functions(self) -> None:
        self.train_function = self.test_function = self.predict_function = None

    def compile_from_config(self, config: dict[str, Any]) -> None:
        # Before the optimizer's state is read, it must have the slots that it was saved with.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self._build_optimizer()

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "train": self.train,
            "stages": None if self.stages is None else [tuple(s) for s in self.stages],
            "rate_decay": self.rate_decay,
            "batch_norm": self.batch_norm,
            "l2_sp": self.l2_sp,
        }


class _NextStage(keras.callbacks.Callback):
    """Goes on to the stage that an epoch belongs to."""

    def on_epoch_begin(self, epoch, logs=None):
        stage = self.model._stage_at(epoch)
        if stage != self.model._stage:
            self.model.use_stage(stage)


def _as_list(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


def _batches(x: Any, batch_size: int | None) -> tf.data.Dataset:
    return prefetched(tf.data.Dataset.from_tensor_slices(x).batch(batch_size or 32))


def _check(rate_decay: float, batch_norm: str, l2_sp: float) -> None:
    if not 0.0 < rate_decay <= 1.0:
        raise ValueError(f"`rate_decay` must be in (0, 1]. Received: rate_decay={rate_decay}.")
    if batch_norm not in BATCH_NORMS:
        raise ValueError(
            f"`batch_norm` must be one of {list(BATCH_NORMS)}. Received: batch_norm={batch_norm!r}."
        )
    if l2_sp < 0.0:
        raise ValueError(f"`l2_sp` must not be negative. Received: l2_sp={l2_sp}.")
