"""The Keras side of a learner: compiling, fitting, saving, and what is refused before work."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfmeta.errors import errors_as_value_errors
from tfmeta.functional import is_classification
from tfmeta.learners import checks
from tfmeta.learners.classes import ClassChanges
from tfmeta.learners.rejection import OpenSetClassifier, Rejection


class EpisodicModel(ClassChanges, OpenSetClassifier, keras.Model):
    """A `keras.Model` with a default loss, clear errors and exact saving.

    Args:
        **kwargs: arguments of `keras.Model`.
    """

    # Constructor arguments that are Keras objects, which saving must serialise.
    nested_arguments: tuple[str, ...] = ()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # XLA drops the checks for non-finite values and makes a loop over tasks slower on the
        # CPU, so it is used only where it is asked for.
        self.jit_compile = False
        self.asked_jit_compile: bool | str = "auto"
        # Keras callbacks and saving ask for it; a learner's networks are built when it gets them.
        self.built = True

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The compiled loss of one episode, or the default one: see `compile`."""
        if self.loss is not None:
            return super().compute_loss(x, y, y_pred, sample_weight, training=training)
        dtype = self.variable_dtype
        default = (
            keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype=dtype)
            if is_classification(y, y_pred)
            else keras.losses.MeanSquaredError(dtype=dtype)
        )
        added = [self._aggregate_additional_loss(loss) for loss in self.losses]
        return tf.add_n([default(y, y_pred, sample_weight), *added])

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        *,
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`, with a default loss.

        Args:
            optimizer: the optimizer of the outer loop.
            loss: a Keras loss of one episode's queries; None is the cross-entropy of logits for
                integer `query_y` and the mean squared error for floats.
            jit_compile: `"auto"` leaves XLA off; True asks for it, and drops the check for
                non-finite values.
            **kwargs: other arguments of `keras.Model.compile`.

        Raises:
            ValueError: for a cross-entropy of probabilities.
        """
        checks.check_loss(loss)
        self.asked_jit_compile = jit_compile
        super().compile(
            optimizer, loss, jit_compile=False if jit_compile == "auto" else jit_compile, **kwargs
        )

    def get_compile_config(self) -> dict[str, Any]:
        # What was asked for, not what it came to on this device: the next device may differ.
        config = super().get_compile_config()
        return {**config, "jit_compile": self.asked_jit_compile} if config else config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        # Keras skips this, and loses the optimizer's state, for a class that overrides `compile`.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self._build_optimizer()

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """As `keras.Model.fit`, on episodes; bad episodes are a `ValueError`."""
        n_replicas = self.distribute_strategy.num_replicas_in_sync
        checks.check_optimizer_in_strategy(getattr(self, "optimizer", None), n_replicas)
        if isinstance(x, tf.data.Dataset):
            # Keras warns that it does not shuffle a dataset, though nobody asked it to.
            kwargs.setdefault("shuffle", False)
        for data in (x, kwargs.get("validation_data")):
            self._check_data(data, batch_size)
        self._build_optimizer()
        with errors_as_value_errors():
            return super().fit(x, y, batch_size=batch_size, epochs=epochs, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, batch_size: int | None = None, **kwargs: Any):
        """As `keras.Model.evaluate`, on episodes; bad episodes are a `ValueError`."""
        self._check_data(x, batch_size)
        with errors_as_value_errors():
            return super().evaluate(x, y, batch_size=batch_size, **kwargs)

    def predict(self, x: Any, **kwargs: Any):
        """As `keras.Model.predict`, on episodes; bad episodes are a `ValueError`."""
        self._check_data(x, None)
        with errors_as_value_errors():
            return super().predict(x, **kwargs)

    def train_on_batch(self, *args: Any, **kwargs: Any):
        """As `keras.Model.train_on_batch`, on episodes; bad episodes are a `ValueError`."""
        with errors_as_value_errors():
            return super().train_on_batch(*args, **kwargs)

    def test_on_batch(self, *args: Any, **kwargs: Any):
        """As `keras.Model.test_on_batch`, on episodes; bad episodes are a `ValueError`."""
        with errors_as_value_errors():
            return super().test_on_batch(*args, **kwargs)

    def predict_on_batch(self, x: Any):
        """As `keras.Model.predict_on_batch`, on episodes; bad episodes are a `ValueError`."""
        with errors_as_value_errors():
            return super().predict_on_batch(x)

    def _build_optimizer(self) -> None:
        """Makes the optimizer's variables: a first step that makes them is traced twice."""
        optimizer = getattr(self, "optimizer", None)
        if optimizer is not None and not optimizer.built:
            with self.distribute_strategy.scope():
                optimizer.build(self.trainable_variables)

    def _check_data(self, x: Any, batch_size: int | None) -> None:
        n_replicas = self.distribute_strategy.num_replicas_in_sync
        checks.check_numeric(x)
        checks.check_task_count(x, batch_size, n_replicas)
        checks.check_steps_in_strategy(self.steps_per_execution, n_replicas)

    def get_config(self) -> dict[str, Any]:
        nested = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in self.nested_arguments
        }
        rejection = {} if self.rejection is None else {"rejection": self.rejection.get_config()}
        return {**super().get_config(), **nested, **rejection}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> EpisodicModel:
        nested = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in cls.nested_arguments
        }
        config = {**config, **nested}
        rejection = config.pop("rejection", None)
        learner = cls(**config)
        learner.rejection = None if rejection is None else Rejection(**rejection)
        return learner
