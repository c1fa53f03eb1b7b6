"""Export of a learner as a SavedModel that adapts and predicts with TensorFlow alone."""

from __future__ import annotations

import json
import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmeta.episode_batches import statistics_of
from tfmeta.errors import require
from tfmeta.learners import checks
from tfmeta.learners.base import EpisodicLearner
from tfmeta.learners.rejection import UNKNOWN, classified
from tfmeta.saved_models import add_endpoint, check_repeated, written_whole

TASKS = ("classification", "regression")
# The class name of a query that is of no class of the support.
UNKNOWN_NAME = "unknown"


def export_learner(
    learner: EpisodicLearner,
    path: str | os.PathLike[str],
    *,
    task: str | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
) -> str:
    """Writes a learner as one SavedModel that adapts to new classes where it is served.

    Signatures, for any number of support and query examples:

    - `adapt(support_x, support_y, class_names)` -> `state_000`, `state_001`, ..., `class_names`
    - `predict(query_x, class_names, state_000, ...)` -> what is said below
    - `adapt_and_predict(support_x, support_y, class_names, query_x)`, the default signature
    - for prototypes, all of which return a state with its `class_names`:
      `add_class(support_x, class_name, class_names, state_000, ...)`,
      `add_examples(support_x, class_name, class_names, state_000, ...)` and
      `remove_class(class_name, class_names, state_000, ...)`, `class_name` one string `[]`

    A classifier takes `support_y [support]` int32 with `class_names [n_way]` strings, and returns
    `logits [query, n_way]`, `probabilities`, `label [query]` and `class_name [query]`; any `n_way`
    where the learner allows it. With a `learner.rejection` it also returns `score [query]` and
    `is_unknown [query]`; an unknown query has the label -1 and the class name "unknown". A
    regression takes `support_y [support, d]` floats, has no
    `class_names`, and returns `values [query, d]`. The file `tfmeta.json` in the assets says which
    statistics and steps were exported. What is written is loaded again and compared with the
    learner before it takes its place.

    Args:
        learner: a built learner.
        path: the folder to write.
        task: `"classification"` or `"regression"`; None takes a learner for a regression when it
            has one output or was compiled with the loss of a regression.
        dtype: of the examples; None for uint8 pictures (examples `[height, width, 1 or 3]`), and
            else what the network takes.
        overwrite: whether a SavedModel that is there is replaced.

    Returns:
        The path.

    Raises:
        ValueError: when the path exists, the task is of another kind, or the written model does
            not repeat the learner's outputs to 1e-5; nothing is left at `path` then.

    Example:
        >>> backbone = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> learner = tfmeta.learners.PrototypicalNetwork(backbone)
        >>> path = export_learner(learner, "served")
        >>> sorted(tf.saved_model.load(path).signatures)
        ['adapt', 'adapt_and_predict', 'add_class', 'add_examples', 'predict', 'remove_class',
         'serving_default']
    """
    path = os.fspath(path)
    if not isinstance(learner, EpisodicLearner):
        raise ValueError(f"`learner` must be a tfmeta learner. Received: learner={learner!r}")
    task = _task(learner) if task is None else task
    checks.check_choice("task", task, TASKS)
    with written_whole(path, overwrite=overwrite) as folder:
        served = _ServedLearner(learner, task, dtype or _example_dtype(learner))
        served.write(folder)
        served.check_parity(folder)
    return path


class _ServedLearner:
    """The signatures of a learner, and how they are written and checked."""

    def __init__(self, learner: EpisodicLearner, task: str, dtype: str) -> None:
        self.learner = learner
        self.task = task
        self.x_dtype = dtype
        # One graph for all endpoints that adapt: to trace it is most of the time of an export.
        self._adapt_state = tf.function(learner.adapt, autograph=False)
        state = self._adapt_state.get_concrete_function(*self._support_specs())
        self.state_structure = state.structured_outputs
        self.state_specs = {
            name: tf.TensorSpec(tensor.shape, tensor.dtype, name)
            for name, tensor in _flat_state(state.structured_outputs).items()
        }

    @property
    def is_classifier(self) -> bool:
        return self.task == "classification"

    def adapt(self, support_x, support_y, class_names=None):
        """Flat state, with the class names that `predict` will give back."""
        support_y = self._with_names_checked(support_y, class_names)
        names = {} if class_names is None else {"class_names": tf.identity(class_names)}
        return {**_flat_state(self._adapt_state(support_x, support_y)), **names}

    def predict(self, query_x, state):
        """Predictions from a flat state."""
        outputs = self.learner.predict_query(self._nested(state), query_x)
        if not self.is_classifier:
            return {"values": outputs}
        label, score, probabilities = classified(outputs, self.learner.rejection)
        # Behind the last name there is the one that stands for the label -1.
        names = tf.concat([state["class_names"], [UNKNOWN_NAME]], axis=0)
        n_way = tf.size(state["class_names"])
        predictions = {
            "logits": outputs,
            "probabilities": probabilities,
            "label": label,
            "class_name": tf.gather(names, tf.where(label == UNKNOWN, n_way, label)),
        }
        if self.learner.rejection is None:
            return predictions
        return {**predictions, "score": score, "is_unknown": label == UNKNOWN}

    def add_class(self, state, support_x, class_name):
        """Flat state with one class more, behind the others."""
        names = state["class_names"]
        class_name = require(
            ~tf.reduce_any(names == class_name),
            "`class_name` must be a new one. Use `add_examples` for more examples of a class. "
            "Received: class_name =",
            [class_name],
            class_name,
        )
        changed = self.learner.add_class(self._nested(state), support_x)
        return {**_flat_state(changed), "class_names": tf.concat([names, [class_name]], axis=0)}

    def add_examples(self, state, support_x, class_name):
        """Flat state whose one class has more examples."""
        label = self._label_of(state, class_name)
        changed = self.learner.add_examples(self._nested(state), support_x, label)
        return {**_flat_state(changed), "class_names": tf.identity(state["class_names"])}

    def remove_class(self, state, class_name):
        """Flat state without a class."""
        names = state["class_names"]
        label = self._label_of(state, class_name)
        changed = self.learner.remove_class(self._nested(state), label)
        names = tf.concat([names[:label], names[label + 1 :]], axis=0)
        return {**_flat_state(changed), "class_names": names}

    def adapt_and_predict(self, support_x, support_y, query_x, class_names=None):
        """Predictions from a support set."""
        return self.predict(query_x, self.adapt(support_x, support_y, class_names))

    def write(self, path: str) -> None:
        archive = keras.export.ExportArchive()
        archive.track(self.learner)
        support_x, support_y = self._support_specs()
        names = {"class_names": tf.TensorSpec([None], tf.string, "class_names")}
        names = names if self.is_classifier else {}
        query_x = self._example_spec("query_x")
        # The first endpoint becomes the default signature.
        support = [support_x, support_y]
        at_once = [*support, query_x, *names.values()]
        add_endpoint(archive, "adapt_and_predict", self.adapt_and_predict, at_once)
        add_endpoint(archive, "adapt", self.adapt, [*support, *names.values()])
        add_endpoint(archive, "predict", self.predict, [query_x, {**self.state_specs, **names}])
        if self.is_classifier and self.learner.changes_classes:
            self._add_class_endpoints(archive, {**self.state_specs, **names})
        archive.write_out(path, verbose=False)
        with open(os.path.join(path, "assets", "tfmeta.json"), "w", encoding="utf8") as file:
            json.dump(self._description(), file, indent=2)

    def _add_class_endpoints(self, archive: keras.export.ExportArchive, state: dict) -> None:
        support_x = self._example_spec("support_x")
        class_name = tf.TensorSpec([], tf.string, "class_name")
        add_endpoint(archive, "add_class", self.add_class, [state, support_x, class_name])
        add_endpoint(archive, "add_examples", self.add_examples, [state, support_x, class_name])
        add_endpoint(archive, "remove_class", self.remove_class, [state, class_name])

    def check_parity(self, path: str) -> None:
        """Compares what was written, loaded again, with the learner."""
        support, query_x = self._probe()
        wanted = self.learner.predict_query(self.learner.adapt(*support[:2]), query_x)
        names = {"class_names": support[2]} if self.is_classifier else {}
        given = {"support_x": support[0], "support_y": support[1], **names}
        served = tf.saved_model.load(path).signatures
        key = "logits" if self.is_classifier else "values"
        at_once = served["adapt_and_predict"](query_x=query_x, **given)[key]
        in_two = served["predict"](query_x=query_x, **served["adapt"](**given))[key]
        for got in (at_once, in_two):
            check_repeated(wanted, got, what="learner")

    def _nested(self, state: dict[str, tf.Tensor]) -> Any:
        tensors = [state[name] for name in self.state_specs]
        return tf.nest.pack_sequence_as(self.state_structure, tensors)

    def _label_of(self, state: dict[str, tf.Tensor], class_name: tf.Tensor) -> tf.Tensor:
        found = tf.where(state["class_names"] == class_name)
        found = require(
            tf.shape(found)[0] == 1,
            "`class_name` must be one of `class_names`, once. Received: class_name, class_names =",
            [class_name, state["class_names"]],
            found,
        )
        return tf.cast(found[0, 0], "int32")

    def _with_names_checked(self, support_y: tf.Tensor, class_names: Any) -> tf.Tensor:
        if class_names is None:
            return support_y
        n_way = self._n_way or tf.reduce_max(support_y) + 1
        return require(
            tf.equal(tf.size(class_names), n_way),
            "`class_names` must have one name for each class. Received: names, n_way =",
            [tf.size(class_names), tf.convert_to_tensor(n_way)],
            support_y,
        )

    @property
    def _n_way(self) -> int | None:
        return self.learner.n_outputs if self.is_classifier else None

    def _example_spec(self, name: str) -> tf.TensorSpec:
        return tf.TensorSpec([None, *self.learner.example_shape], self.x_dtype, name)

    def _support_specs(self) -> tuple[tf.TensorSpec, tf.TensorSpec]:
        labels = tf.TensorSpec([None], tf.int32, "support_y")
        targets = tf.TensorSpec(
            [None, self.learner.n_outputs], self.learner.variable_dtype, "support_y"
        )
        return self._example_spec("support_x"), labels if self.is_classifier else targets

    def _probe(self) -> tuple[tuple, tf.Tensor]:
        """A small support set with class names, and queries: random, the same every time."""
        draws = np.random.default_rng(0)
        n_way = self._n_way or 3

        def examples(n: int) -> tf.Tensor:
            shape = [n, *(size or 32 for size in self.learner.example_shape)]
            if self.x_dtype == "string":
                words = tf.constant(draws.choice(_words(self.learner), [*shape, 6]))
                return tf.strings.reduce_join(words, axis=-1, separator=" ")
            return tf.constant(draws.integers(0, 256, shape) / self._probe_scale, self.x_dtype)

        if self.is_classifier:
            support_y = tf.constant(np.repeat(np.arange(n_way), 2), tf.int32)
        else:
            support_y = tf.constant(
                draws.standard_normal((6, self.learner.n_outputs or 1)), "float32"
            )
            support_y = tf.cast(support_y, self.learner.variable_dtype)
        names = tf.constant([f"class {k}" for k in range(n_way)])
        return (examples(len(support_y)), support_y, names), examples(4)

    @property
    def _probe_scale(self) -> float:
        return 1.0 if tf.as_dtype(self.x_dtype).is_integer else 255.0

    def _description(self) -> dict[str, Any]:
        names = set(self.learner.get_config()) - {"name", "trainable", "dtype"}
        options = {name: getattr(self.learner, name, None) for name in sorted(names)}
        options = {k: v for k, v in options.items() if isinstance(v, (str, int, float, bool))}
        rejection = self.learner.rejection
        return {
            "learner": type(self.learner).__name__,
            "task": self.task,
            "transductive": statistics_of(self.learner) == "transductive",
            **options,
            "rejection": None if rejection is None else rejection.get_config(),
            "example_shape": list(self.learner.example_shape),
            "example_dtype": self.x_dtype,
        }


def _task(learner: EpisodicLearner) -> str:
    regression = learner.n_outputs == 1 or checks.is_regression_loss(learner.loss)
    return "regression" if regression else "classification"


def _flat_state(state: Any) -> dict[str, tf.Tensor]:
    return {f"state_{i:03d}": tensor for i, tensor in enumerate(tf.nest.flatten(state))}


def _words(learner: EpisodicLearner) -> list[str]:
    """Words, or what else the network splits texts into, that the network knows."""
    layers = getattr(learner, learner.network_argument)._flatten_layers()
    readers = [layer for layer in layers if isinstance(layer, keras.layers.TextVectorization)]
    return ["text", *(word for layer in readers for word in layer.get_vocabulary())]


def _example_dtype(learner: EpisodicLearner) -> str:
    shape = learner.example_shape
    if len(shape) == 3 and shape[-1] in (1, 3):
        return "uint8"
    network = getattr(learner, learner.network_argument)
    return tf.as_dtype(network.inputs[0].dtype).name
