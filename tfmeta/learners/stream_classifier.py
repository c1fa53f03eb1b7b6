"""A sequence learner under the protocol of streams: a prediction and a loss at every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfmeta.errors import errors_as_value_errors
from tfmeta.functional import accuracy_by_instance
from tfmeta.learners import checks
from tfmeta.sizes import check_sizes

KEYS = ("stream_x", "stream_y")


@keras.saving.register_keras_serializable("tfmeta")
class InstanceAccuracy(keras.metrics.Mean):
    """A Keras metric: the accuracy on one instance of the classes of streams.

    Args:
        instance: 1 for the first presentation of a class, 2 for the second, ...
        **kwargs: `name` and other arguments of `keras.metrics.Metric`.

    Raises:
        ValueError: for an instance that is not a positive integer.

    Example:
        >>> second = InstanceAccuracy(2)
        >>> second.update_state([[0, 1, 0]], [[[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]])
        >>> float(second.result()), second.name
        (1.0, 'instance_2')
    """

    def __init__(self, instance: int, **kwargs: Any) -> None:
        check_sizes(instance=instance)
        super().__init__(**{"name": f"instance_{instance}", **kwargs})
        self.instance = instance

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of streams: class numbers `[streams, steps]` and logits."""
        y_pred = tf.convert_to_tensor(y_pred)
        y_true = tf.cast(y_true, "int32")
        accuracies = accuracy_by_instance(y_true, y_pred, self.instance)[:, -1]
        super().update_state(accuracies, sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "instance": self.instance}


class StreamClassifier(keras.Model):
    """A Keras model of streams that shares all weights with a sequence learner.

    `fit`, `evaluate` and `predict` take `(inputs, stream_y)` or `inputs`, as
    `tfmeta.data.stream_dataset` gives them:

        inputs = {"stream_x": [streams, steps, ...], "stream_y": [streams, steps]}

    and the outputs are logits `[streams, steps, n_way]`. The labels among the inputs are those
    that the core is told, one step late; the loss is the mean over all steps. Save the learner,
    which has the weights, and not this model.

    Args:
        learner: a `SequenceLearner`.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Flatten()])
        >>> learner = tfmeta.learners.SequenceLearner(
        ...     backbone, keras.layers.LSTMCell(4), n_way=3)
        >>> inputs = {"stream_x": np.zeros([2, 6, 2], "float32"),
        ...           "stream_y": np.zeros([2, 6], "int32")}
        >>> learner.on_streams().predict(inputs, verbose=0).shape
        (2, 6, 3)
    """

    def __init__(self, learner: Any) -> None:
        super().__init__(name=f"{learner.name}_on_streams", dtype=learner.variable_dtype)
        self.learner = learner
        self.built = True

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, **kwargs: Any) -> None:
        """As `keras.Model.compile`; the default loss is the cross-entropy of logits."""
        checks.check_loss(loss)
        if loss is None:
            loss = keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, dtype=self.variable_dtype
            )
        kwargs.setdefault("jit_compile", False)
        super().compile(optimizer, loss, **kwargs)

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Logits `[streams, steps, n_way]`."""
        missing = [key for key in KEYS if key not in inputs]
        if missing:
            raise ValueError(
                f"Streams must be a dict with {list(KEYS)}. Received: {list(inputs)}. "
                "`tfmeta.data.stream_dataset` makes them."
            )
        stream_x, stream_y = (tf.convert_to_tensor(inputs[key]) for key in KEYS)
        shape = self.learner.example_shape
        checks.check_examples("stream_x", stream_x, shape, leading="[streams, steps]", n_leading=2)
        checks.check_axes("stream_y", stream_y, "[streams, steps]", stream_x, exact=True)
        return self.learner.stream_logits(stream_x, stream_y, training=training)

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`, on streams; bad streams are a `ValueError`."""
        if args and isinstance(args[0], tf.data.Dataset):
            # Keras warns that it does not shuffle a dataset, though nobody asked it to.
            kwargs.setdefault("shuffle", False)
        with errors_as_value_errors():
            return super().fit(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`, on streams; bad streams are a `ValueError`."""
        with errors_as_value_errors():
            return super().evaluate(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.predict`, on streams; bad streams are a `ValueError`."""
        with errors_as_value_errors():
            return super().predict(*args, **kwargs)
