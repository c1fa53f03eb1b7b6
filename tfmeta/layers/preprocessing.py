"""Preprocessing of pictures as the networks of `keras.applications` want it, as a layer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfmeta")
class ApplicationPreprocessing(keras.layers.Layer):
    """Pixels 0 ... 255 scaled and centred as one of `keras.applications` was trained with.

    Calls `preprocess_input` of that module, inside the graph, so that it is saved and exported
    with the model.

    Args:
        application: a module of `keras.applications`, for example `"vgg16"` (BGR, means
            subtracted), `"mobilenet_v2"` (-1 ... 1) or `"densenet"` (0 ... 1, standardised).
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Raises:
        ValueError: for an unknown module.

    Example:
        >>> layer = ApplicationPreprocessing("mobilenet_v2")
        >>> layer(tf.constant([[[[0.0, 127.5, 255.0]]]])).numpy().ravel()
        array([-1.,  0.,  1.], dtype=float32)
    """

    def __init__(self, application: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.application = application
        self._preprocess = _preprocess_input(application)

    def call(self, inputs):
        return self._preprocess(tf.cast(inputs, self.compute_dtype))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "application": self.application}


def _preprocess_input(application: str) -> Any:
    # `preprocess_input` is public by the path keras.applications.<module>, which is no module
    # that `import` finds.
    module = getattr(keras.applications, str(application), None)
    function = getattr(module, "preprocess_input", None)
    if function is None:
        names = [
            name
            for name in dir(keras.applications)
            if hasattr(getattr(keras.applications, name), "preprocess_input")
        ]
        raise ValueError(
            f"`application` must be a module of keras.applications: {', '.join(names)}. "
            f"Received: application={application!r}."
        )
    return function
