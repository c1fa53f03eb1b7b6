"""Export of a classifier as a SavedModel that names classes with TensorFlow alone."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmeta.saved_models import add_endpoint, check_repeated, written_whole
from tfmeta.transfer.classifier import BackboneClassifier

# Side of the pictures that the parity check takes where the model takes any.
_PROBE_SIDE = 40


def export_classifier(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    from_logits: bool | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
) -> str:
    """Writes a classifier as one SavedModel from raw examples to class names.

    `FineTune`, the learners of domain adaptation, or any Keras classifier; what a model does to
    its inputs, such as the resizing and preprocessing of `tfmeta.models.pretrained`, goes with it.
    One signature, `serve` (the default too), for any number of examples: `serve(x)` returns

    - `probabilities [n, n_classes]`
    - `label [n]` int32, `class_name [n]` strings, and `probability [n]` of the likeliest class
    - `class_names [n_classes]`

    The file `tfmeta.json` in the assets says what went in. What is written is loaded again and
    compared with the model before it takes its place.

    Args:
        model: a built model with one input, and one output `[batch, n_classes]`.
        path: the folder to write.
        class_names: `n_classes` names, `examples.class_names` for example; None for numbers.
        from_logits: whether the outputs are logits; None for True unless the model ends in a
            softmax.
        dtype: of the examples; None for uint8 where a backbone under a head takes pictures
            (`[height, width, 1 or 3]`, scaled to 0 ... 1 for a backbone of floats, as in
            training), and else what the model takes.
        overwrite: whether a SavedModel that is there is replaced.

    Returns:
        The path.

    Raises:
        ValueError: for a model that is not built or no classifier, names that do not fit, a path
            that exists, or a written model that does not repeat the outputs to 1e-5; nothing is
            left at `path` then.

    Example:
        >>> backbone = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
        >>> model = tfmeta.transfer.FineTune(backbone, 2)
        >>> path = export_classifier(model, "served", class_names=["cat", "dog"])
        >>> serve = tf.saved_model.load(path).signatures["serve"]
        >>> serve(x=tf.zeros([3, 28, 28, 1], tf.uint8))["class_name"].shape
        TensorShape([3])
    """
    path = os.fspath(path)
    network = _network(model)
    names = _checked_names(class_names, _n_classes(model))
    is_logits = not _ends_in_softmax(model) if from_logits is None else from_logits
    served = _ServedClassifier(model, names, is_logits, _example_spec(network, model, dtype))
    with written_whole(path, overwrite=overwrite) as folder:
        served.write(folder)
        served.check_parity(folder)
    return path


class _ServedClassifier:
    """The signature of a classifier, and how it is written and checked."""

    def __init__(
        self, model: keras.Model, names: tuple[str, ...], is_logits: bool, spec: tf.TensorSpec
    ) -> None:
        self.model, self.names, self.is_logits, self.spec = model, names, is_logits, spec

    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities and names of a batch of examples."""
        probabilities = self.probabilities(x)
        label = tf.argmax(probabilities, axis=1, output_type=tf.int32)
        return {
            "probabilities": probabilities,
            "probability": tf.reduce_max(probabilities, axis=1),
            "label": label,
            "class_name": tf.gather(tf.constant(self.names), label),
            "class_names": tf.constant(self.names),
        }

    def probabilities(self, x: tf.Tensor) -> tf.Tensor:
        """`[n, n_classes]` float32."""
        outputs = tf.cast(self.model(x, training=False), tf.float32)
        return tf.nn.softmax(outputs) if self.is_logits else outputs

    def write(self, path: str) -> None:
        archive = keras.export.ExportArchive()
        archive.track(self.model)
        add_endpoint(archive, "serve", self.serve, [self.spec])
        archive.write_out(path, verbose=False)
        description = {
            "model": type(self.model).__name__,
            "class_names": list(self.names),
            "example_shape": list(self.spec.shape[1:]),
            "example_dtype": self.spec.dtype.name,
        }
        with open(os.path.join(path, "assets", "tfmeta.json"), "w", encoding="utf8") as file:
            json.dump(description, file, indent=2)

    def check_parity(self, path: str) -> None:
        """Compares what was written, loaded again, with the model, in batches of two sizes."""
        serve = tf.saved_model.load(path).signatures["serve"]
        for n, side in ((1, _PROBE_SIDE), (3, _PROBE_SIDE + 9)):
            x = self._probe(n, side)
            check_repeated(self.probabilities(x), serve(x=x)["probabilities"], what="model")

    def _probe(self, n: int, side: int) -> tf.Tensor:
        """Random examples, the same every time."""
        draws = np.random.default_rng(n)
        shape = [n, *(size or side for size in self.spec.shape[1:])]
        if self.spec.dtype == tf.string:
            return tf.constant(draws.choice(["text", "of", "words"], shape))
        if self.spec.dtype.is_integer:
            # Of small numbers too, which a network that looks them up has.
            high = 256 if self.spec.dtype == tf.uint8 else 2
            return tf.constant(draws.integers(0, high, shape), self.spec.dtype)
        return tf.constant(draws.random(shape), self.spec.dtype)


def _network(model: Any) -> keras.Model:
    """The part of a model that takes its inputs."""
    network = model.backbone if isinstance(model, BackboneClassifier) else model
    if not isinstance(network, keras.Model) or not network.built or len(network.inputs or ()) != 1:
        raise ValueError(
            "`model` must be a built Keras model with one input. Received: "
            f"model={model!r}. Build it from a `keras.Input`, or wrap it in one: "
            "`keras.Model(inputs, model(inputs))`."
        )
    return network


def _n_classes(model: keras.Model) -> int:
    shape = (
        model.head.compute_output_shape(model.backbone.output_shape)
        if isinstance(model, BackboneClassifier)
        else model.output_shape
    )
    if not isinstance(shape, tuple) or len(shape) != 2 or (shape[1] or 0) < 2:
        raise ValueError(
            "A classifier must give one output for each of at least two classes, "
            f"[batch, n_classes]. Received: outputs of shape {shape}."
        )
    return int(shape[1])


def _checked_names(class_names: Sequence[str] | None, n_classes: int) -> tuple[str, ...]:
    names = tuple(map(str, range(n_classes) if class_names is None else class_names))
    if len(names) != n_classes or len(set(names)) != n_classes:
        raise ValueError(
            f"`class_names` must be {n_classes} different names, one for each class. Received: "
            f"{len(names)} names, {len(set(names))} of them different."
        )
    return names


def _ends_in_softmax(model: keras.Model) -> bool:
    layer = model.head if isinstance(model, BackboneClassifier) else model
    while isinstance(layer, keras.Model) and layer.layers:
        layer = layer.layers[-1]
    is_softmax = getattr(layer, "activation", None) is keras.activations.softmax
    return is_softmax or isinstance(layer, keras.layers.Softmax)


def _example_spec(network: keras.Model, model: keras.Model, dtype: str | None) -> tf.TensorSpec:
    shape = network.inputs[0].shape
    is_picture = len(shape) == 4 and shape[-1] in (1, 3)
    if dtype is None:
        scales = isinstance(model, BackboneClassifier) and is_picture
        dtype = "uint8" if scales else tf.as_dtype(network.inputs[0].dtype).name
    return tf.TensorSpec([None, *shape[1:]], dtype, "x")
